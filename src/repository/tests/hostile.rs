//! Structures under good seals that no honest writer makes: walking, checking, comparing and collecting come back, with a refusal.

use bytes::Bytes;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::progress::Silent;
use crate::repository::format::changes::{ChangeRecord, ChangeSource};
use crate::repository::format::condemned::{CondemnedList, Sentence};
use crate::repository::format::envelope::EnvelopeKind;
use crate::repository::format::frame::{Codec, FrameKind};
use crate::repository::format::lease::Lease;
use crate::repository::format::node::{ChunkEntry, FrameRef, MAX_LEVEL, Node, NodeRef, StoredChunk, StoredNode};
use crate::repository::format::point::{Consistency, Point, Statistics, Tree};
use crate::repository::frame::{PackBuilder, Payload};
use crate::repository::ids::{ContentId, LeaseId, PackId, PointId, RecordId};
use crate::repository::{CheckDepth, CollectOptions, Repository, RepositoryError, SAFE_WAIT, names};
use crate::store::Store;
use crate::store::memory::Memory;
use crate::testkit::album::Album;
use crate::testkit::contents::{random_bytes, volume_bytes};
use crate::testkit::dice::{Dice, each_seed};
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::trial::{self, environment};
use crate::testkit::volume::MemoryVolume;

struct Scene {
    clock: Arc<ManualClock>,
    repository: Repository,
    album: Album,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
        let repository = trial::init(&store, environment(&clock, seed)).unwrap();
        let volume = MemoryVolume::new(volume_bytes(300_000, seed));
        let mut album = Album::default();
        album.keep(&trial::back_up(&repository, "v", &volume).unwrap().point, volume.bytes());
        Self { clock, repository, album }
    }

    /// Seals frames into a pack and puts it.
    fn pack(&self, frames: &[(FrameKind, Codec, u32, Vec<u8>)]) -> Vec<FrameRef> {
        let entropy = self.repository.environment.entropy.as_ref();
        let mut pack = PackBuilder::new(&self.repository.ring, entropy, LeaseId([0; 16]), Vec::new()).unwrap();
        let seal = |(kind, codec, raw_length, bytes): &(FrameKind, Codec, u32, Vec<u8>)| {
            pack.add(&Payload { kind: *kind, codec: *codec, raw_length: *raw_length, bytes }).unwrap()
        };
        let refs = frames.iter().map(seal).collect();
        let (id, bytes) = pack.finish();
        self.repository.store.put(&names::pack(id), bytes.into()).unwrap();
        refs
    }

    /// A node as its parent would name it.
    fn node(&self, bytes: &[u8]) -> StoredNode {
        let frame = self.pack(&[(FrameKind::Node, Codec::None, bytes.len() as u32, bytes.to_vec())])[0];
        StoredNode { id: self.repository.ring.node_id(bytes), frame }
    }

    fn point(&self, number: u64, tree: Tree) -> Point {
        let point = Point {
            volume: format!("hostile {number}"),
            cut: Timestamp(number),
            previous: None,
            source: String::new(),
            changes: ChangeRecord::of(ChangeSource::Full),
            consistency: Consistency::Live,
            statistics: Statistics::default(),
            unreadable: ExtentSet::new(),
            omitted: ExtentSet::new(),
            incident: Some(Extent::new(u64::MAX, u64::MAX)),
            writer: String::new(),
            host: String::new(),
            catalog: None,
            file_tree: None,
            tree,
        };
        self.repository.put_point(PointId { time: Timestamp(number), random: [1; 10] }, &point).unwrap();
        point
    }

    /// Everything that walks trees comes back; the honest point is whole before and after.
    fn survive(&self) {
        let repository = &self.repository;
        let listing = repository.points().unwrap();
        for depth in [CheckDepth::Quick, CheckDepth::Deep] {
            repository.check(depth, &Silent).unwrap();
        }
        for one in &listing.points {
            let _ = repository.verify_point(one).unwrap();
            if one.point.tree.size < 4096 * 5_000 {
                let mut degraded = trial::PLAIN;
                degraded.degraded = true;
                let _ = trial::restored(repository, one, trial::PLAIN);
                trial::restored(repository, one, degraded).unwrap();
            }
            for other in &listing.points {
                let _ = repository.diff(&one.point.tree, &other.point.tree);
            }
        }
        for _ in 0..3 {
            self.clock.advance(SAFE_WAIT * 2);
            let _ = repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT });
        }
        for point in repository.points().unwrap().points {
            if let Some(bytes) = self.album.bytes(&point.id) {
                assert!(trial::restored(repository, &point, trial::PLAIN).unwrap().0 == bytes);
            }
        }
    }
}

fn tree(size: u64, root: NodeRef) -> Tree {
    let level = Tree::level_for(size.div_ceil(4096));
    Tree { size, chunk_bytes: 4096, level, root }
}

fn random_frame(dice: &Dice, known: &[FrameRef]) -> FrameRef {
    let mut frame = known[dice.index(known.len())];
    match dice.below(6) {
        0 => frame.pack = PackId([dice.below(256) as u8; 16]),
        1 => frame.slot = [0, 1, 65_535, 1 << 20, u32::MAX][dice.index(5)],
        2 => frame.offset = [0, 63, u32::MAX, dice.below(70_000) as u32][dice.index(4)],
        3 => frame.stored = [0, 1, 23, 24, 1 << 20, (1 << 20) + 4097, u32::MAX][dice.index(7)],
        _ => {}
    }
    frame
}

fn random_node(dice: &Dice, scene: &Scene, known: &[FrameRef], children: &[StoredNode]) -> Vec<u8> {
    let id = || ContentId([dice.below(256) as u8; 32]);
    match dice.below(5) {
        0 => random_bytes(dice.index(300), dice.below(u64::MAX)),
        1 | 2 => {
            let chunk = || StoredChunk { id: id(), frame: random_frame(dice, known), place: dice.below(256) as u8 };
            let entry = || match dice.below(4) {
                0 => ChunkEntry::Hole,
                1 => ChunkEntry::Unreadable,
                2 => ChunkEntry::Stored(chunk()),
                _ => ChunkEntry::StoredWithGaps(chunk()),
            };
            Node::Leaf((0..dice.below(64)).map(|_| entry()).collect()).encode()
        }
        _ => {
            let child = || match (dice.below(4), children) {
                (0, _) | (_, []) => NodeRef::Hole,
                (1, _) => NodeRef::Node(StoredNode { id: id(), frame: random_frame(dice, known) }),
                _ => NodeRef::Node(children[dice.index(children.len())]),
            };
            let level = 1 + dice.below(u64::from(MAX_LEVEL)) as u8;
            let bytes = Node::Inner { level, children: (0..dice.below(64)).map(|_| child()).collect() }.encode();
            // Sometimes right in everything but its end.
            if dice.chance(200) { [bytes, scene.repository.ring.node_id(b"x").0.to_vec()].concat() } else { bytes }
        }
    }
}

#[test]
fn trees_that_lie_about_everything_are_walked_to_their_end() {
    each_seed(0..150, |seed| {
        let (scene, dice) = (Scene::new(seed), Dice::new(seed));
        let chunks = random_bytes(4096 * 3, seed);
        let known = scene.pack(&[
            (FrameKind::Chunks, Codec::None, 4096 * 3, chunks.clone()),
            (FrameKind::Chunks, Codec::Lz4, 1 << 20, random_bytes(200, seed)),
            (FrameKind::Chunks, Codec::Zstd(1), 1 << 20, random_bytes(200, seed)),
            (FrameKind::Chunks, Codec::None, 7, chunks),
            (FrameKind::Node, Codec::None, 0, Vec::new()),
        ]);
        let mut nodes = Vec::new();
        for _ in 0..8 {
            let bytes = random_node(&dice, &scene, &known, &nodes);
            nodes.push(scene.node(&bytes));
        }
        for number in 0..4 {
            let size = [1, 4096 * 64, 4096 * 65, 4096 * 64 * 64 * 3, 1 << 40, u64::MAX][dice.index(6)];
            let root = if dice.chance(100) { NodeRef::Hole } else { NodeRef::Node(nodes[dice.index(nodes.len())]) };
            scene.point(seed * 10 + number, tree(size, root));
        }
        scene.survive();
    });
}

#[test]
fn a_point_that_lies_about_where_a_lost_chunk_is_gives_nothing_in_its_stead() {
    let scene = Scene::new(10);
    let repository = &scene.repository;
    let (said, kept) = (random_bytes(4096, 1), random_bytes(4096, 2));
    let id = repository.ring.chunk_id(&said);
    let [lost, lying] = [said, kept].map(|bytes| scene.pack(&[(FrameKind::Chunks, Codec::None, 4096, bytes)])[0]);
    for (number, frame) in [lost, lying].into_iter().enumerate() {
        let leaf = Node::Leaf(vec![ChunkEntry::Stored(StoredChunk { id, frame, place: 0 })]).encode();
        scene.point(number as u64, tree(4096, NodeRef::Node(scene.node(&leaf))));
    }
    repository.store.delete(&names::pack(lost.pack)).unwrap();
    let mut degraded = trial::PLAIN;
    degraded.degraded = true;
    for point in repository.points().unwrap().points.iter().filter(|point| scene.album.bytes(&point.id).is_none()) {
        let (_, report) = trial::restored(repository, point, degraded).unwrap();
        assert_eq!((report.found_elsewhere.bytes, report.findings.len()), (0, 1), "{}", point.point.volume);
    }
}

#[test]
fn a_chunk_or_node_under_a_good_seal_that_is_not_what_its_id_says_is_damage() {
    let scene = Scene::new(9);
    let repository = &scene.repository;
    let (said, kept) = (random_bytes(4096, 1), random_bytes(4096, 2));
    let frame = scene.pack(&[(FrameKind::Chunks, Codec::None, 4096, kept)])[0];
    let chunk = |bytes: &[u8]| ChunkEntry::Stored(StoredChunk { id: repository.ring.chunk_id(bytes), frame, place: 0 });
    let leaf = Node::Leaf(vec![chunk(&said)]).encode();
    let other = Node::Leaf(vec![chunk(&random_bytes(4096, 2))]).encode();
    let misnamed = StoredNode { id: repository.ring.node_id(&leaf), ..scene.node(&other) };
    for (number, root) in [scene.node(&leaf), misnamed].into_iter().enumerate() {
        scene.point(number as u64, tree(4096, NodeRef::Node(root)));
    }
    for point in repository.points().unwrap().points.iter().filter(|point| scene.album.bytes(&point.id).is_none()) {
        assert_eq!(repository.verify_point(point).unwrap(), ExtentSet::whole(4096), "{}", point.point.volume);
        assert!(trial::restored(repository, point, trial::PLAIN).is_err());
    }
    assert_eq!(repository.check(CheckDepth::Deep, &Silent).unwrap().damage.len(), 2);
}

#[test]
fn two_enormous_empty_volumes_are_compared_at_once() {
    let scene = Scene::new(1);
    let repository = &scene.repository;
    let (small, large) = (tree(1, NodeRef::Hole), tree(u64::MAX, NodeRef::Hole));
    for (old, new) in [(small, large), (large, small), (large, large)] {
        let extents = repository.diff(&old, &new).unwrap();
        // Zeros that only one of them has may be called different; nothing else may be.
        assert!(extents.count() <= 1);
    }
}

#[test]
fn a_sealed_record_of_garbage_is_damage_and_no_panic() {
    each_seed(0..60, |seed| {
        let (scene, dice) = (Scene::new(seed), Dice::new(seed));
        let repository = &scene.repository;
        let id = RecordId([seed as u8; 16]);
        let point = scene.album.ids()[0];
        let volume = repository.volume_key("v");
        for (kind, key) in [
            (EnvelopeKind::Point, names::point(volume, PointId { time: Timestamp(7), random: [3; 10] })),
            (EnvelopeKind::Verdict, names::verdict(point, id)),
            (EnvelopeKind::Condemned, names::condemned(id)),
            (EnvelopeKind::Lease, names::lease(LeaseId(id.0))),
            // The right seal on the wrong kind of object.
            (EnvelopeKind::Verdict, names::lease(LeaseId([9; 16]))),
        ] {
            let fields = random_bytes(dice.index(200), dice.below(u64::MAX));
            let object = repository.seal(kind, &key, fields).unwrap();
            repository.store.put(&key, object).unwrap();
        }
        scene.survive();
        trial::back_up(repository, "v", &MemoryVolume::new(volume_bytes(200_000, seed))).unwrap();
        let refused = repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT });
        assert!(matches!(refused, Err(RepositoryError::Damaged { .. })), "collected beside a lease that nobody can read");
    });
}

#[test]
fn a_condemned_list_that_names_living_packs_harms_none_of_them() {
    let scene = Scene::new(3);
    let repository = &scene.repository;
    for sentence in [Sentence::Delete, Sentence::Rewrite] {
        let packs = repository.list_packs_for_tests().into_iter().map(|pack| (pack, sentence)).collect();
        let key = names::condemned(RecordId([sentence as u8; 16]));
        let list = CondemnedList { made: Timestamp(1), packs };
        let object: Bytes = repository.seal(EnvelopeKind::Condemned, &key, list.encode()).unwrap();
        repository.store.put(&key, object).unwrap();
    }
    repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
    scene.album.compare(repository).unwrap();
}

#[test]
fn a_checkpoint_that_reaches_nothing_stops_collection_and_no_backup() {
    let scene = Scene::new(4);
    let repository = &scene.repository;
    let missing =
        StoredNode { id: ContentId([1; 32]), frame: FrameRef { pack: PackId([2; 16]), slot: 0, offset: 64, stored: 100 } };
    let lease = Lease {
        volume: repository.volume_key("v"),
        expires: Timestamp(u64::MAX),
        points: scene.album.ids(),
        host: String::new(),
        basis: None,
        basis_catalog: None,
        progress: u64::MAX,
        ended: false,
        checkpoint: Some(tree(300_000, NodeRef::Node(missing))),
        resumed: None,
    };
    let key = names::lease(LeaseId([5; 16]));
    repository.store.put(&key, repository.seal(EnvelopeKind::Lease, &key, lease.encode()).unwrap()).unwrap();
    assert!(matches!(repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }), Err(RepositoryError::Damaged { .. })));
    let volume = MemoryVolume::new(volume_bytes(300_000, 5));
    let point = trial::back_up(repository, "v", &volume).unwrap().point;
    assert!(trial::restored(repository, &point, trial::PLAIN).unwrap().0 == volume.bytes());
}

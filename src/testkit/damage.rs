//! Seeded damage to volumes: what is hit by class, how a volume looks afterwards, and what must have survived it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};
use crate::filesystem::{Filesystem, FilesystemError, Inode, InodeNumber, Source, is_data, map_stretches};
use crate::testkit::contents::random_bytes;
use crate::testkit::dice::Dice;

/// Where one file lies.
#[derive(Debug, Clone)]
pub struct Body {
    /// The inode as the intact volume has it.
    pub inode: Inode,
    /// Where the inode lies.
    pub place: Extent,
    /// Where its bytes lie; of a directory, its blocks.
    pub content: Vec<Extent>,
    /// Where its map lies outside the inode.
    pub nodes: Vec<Extent>,
}

/// Where everything of an intact volume lies.
#[derive(Debug, Clone, Default)]
pub struct Anatomy {
    /// Bytes in the image.
    pub size: u64,
    /// Bytes in a block.
    pub block_bytes: u64,
    /// The first superblock.
    pub superblock: Vec<Extent>,
    /// Descriptors of groups, or their headers: the first copy.
    pub descriptors: Vec<Extent>,
    /// Other blocks that account for groups, such as bitmaps.
    pub accounts: Vec<Extent>,
    /// The journal or log.
    pub journal: Vec<Extent>,
    /// Everything that the root leads to, the root first.
    pub bodies: Vec<Body>,
}

/// A class of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing is hit.
    Nothing,
    /// The first superblock is zeros.
    Superblock,
    /// The first copy of all descriptors is zeros.
    Descriptors,
    /// The first MiB is zeros.
    FirstMebibyte,
    /// The root inode is zeros.
    Root,
    /// All three.
    SuperblockDescriptorsRoot,
    /// So many blocks of metadata are noise.
    Metadata(usize),
    /// So many blocks that hold inodes are noise.
    InodeTable(usize),
    /// So many directory blocks are noise or zeros.
    Directories(usize),
    /// The volume ends after so many percent.
    Truncated(u64),
    /// So many bits are flipped anywhere.
    Flips(usize),
    /// So many bits are flipped in metadata.
    MetadataFlips(usize),
    /// The journal is zeros.
    Journal,
}

/// One place that is hit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hit {
    Over { at: u64, bytes: Vec<u8> },
    Flip { at: u64, mask: u8 },
    Cut { size: u64 },
}

/// What happened to a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Damage {
    hits: Vec<Hit>,
}

impl Anatomy {
    /// Learns where everything lies that the root leads to. `nodes` says where the map of an inode lies outside of it; superblocks,
    /// descriptors and the journal are the caller's to add.
    pub fn of(intact: &dyn Filesystem, nodes: &dyn Fn(&Inode, Extent) -> Vec<Extent>) -> Result<Self, FilesystemError> {
        let block_bytes = u64::from(intact.identity().block_bytes);
        let mut anatomy = Self { size: intact.volume().size(), block_bytes, ..Self::default() };
        let mut waiting = vec![intact.root()];
        let mut known: BTreeSet<InodeNumber> = waiting.iter().copied().collect();
        while let Some(number) = waiting.pop() {
            let inode = intact.inode(number)?;
            if inode.is_directory() {
                intact.list(&inode, &mut |entry| {
                    if known.insert(entry.inode) {
                        waiting.push(entry.inode);
                    }
                    ControlFlow::Continue(())
                })?;
            }
            let place = intact.inode_location(number).unwrap_or(Extent::new(0, 0));
            let nodes = nodes(&inode, place);
            anatomy.bodies.push(Body { content: content(intact, &inode)?, inode, place, nodes });
        }
        Ok(anatomy)
    }

    /// The blocks, ascending, that any of these extents touch.
    fn blocks<'a>(&self, extents: impl Iterator<Item = &'a Extent>) -> Vec<Extent> {
        let starts: BTreeSet<u64> = extents
            .flat_map(|extent| extent.align_outward(self.block_bytes).cut(self.block_bytes))
            .map(|block| block.offset)
            .collect();
        starts.into_iter().map(|start| Extent::new(start, self.block_bytes)).collect()
    }

    fn directories(&self) -> Vec<Extent> {
        self.blocks(self.bodies.iter().filter(|body| body.inode.is_directory()).flat_map(|body| &body.content))
    }

    fn tables(&self) -> Vec<Extent> {
        self.blocks(self.bodies.iter().map(|body| &body.place))
    }

    fn metadata(&self) -> Vec<Extent> {
        let nodes = self.bodies.iter().flat_map(|body| &body.nodes);
        let all = self.directories().into_iter().chain(self.tables()).collect::<Vec<_>>();
        self.blocks(all.iter().chain(nodes).chain(&self.descriptors).chain(&self.accounts))
    }
}

fn content(intact: &dyn Filesystem, inode: &Inode) -> Result<Vec<Extent>, FilesystemError> {
    let mut found = Vec::new();
    map_stretches(intact, inode, |_, segments| {
        for segment in segments?.iter().filter(|segment| is_data(segment)) {
            if let Source::Disk(at) = segment.source {
                found.push(Extent::new(at, segment.extent.length));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

impl Damage {
    /// Chooses what is hit. One seed makes one damage.
    #[must_use]
    pub fn plan(class: Class, anatomy: &Anatomy, seed: u64) -> Self {
        let dice = Dice::new(seed ^ 0xda_3a6e);
        let root: Vec<Extent> = anatomy.bodies.first().map(|root| root.place).into_iter().collect();
        let hits = match class {
            Class::Nothing => Vec::new(),
            Class::Superblock => zeros(&anatomy.superblock),
            Class::Descriptors => zeros(&anatomy.descriptors),
            Class::FirstMebibyte => zeros(&[Extent::new(0, 1 << 20)]),
            Class::Root => zeros(&root),
            Class::SuperblockDescriptorsRoot => zeros(&[&anatomy.superblock[..], &anatomy.descriptors, &root].concat()),
            Class::Metadata(count) => noise(&draw(anatomy.metadata(), count, &dice), &dice),
            Class::InodeTable(count) => noise(&draw(anatomy.tables(), count, &dice), &dice),
            Class::Directories(count) => {
                let drawn = draw(anatomy.directories(), count, &dice);
                let (first, second) = drawn.split_at(drawn.len() / 2);
                [noise(first, &dice), zeros(second)].concat()
            }
            Class::Truncated(percent) => vec![Hit::Cut { size: anatomy.size / 100 * percent }],
            Class::Flips(count) => flips(&[Extent::new(0, anatomy.size)], count, &dice),
            Class::MetadataFlips(count) => flips(&anatomy.metadata(), count, &dice),
            Class::Journal => zeros(&anatomy.journal),
        };
        Self { hits }
    }

    /// Overwrites these places with zeros, too.
    #[must_use]
    pub fn and_zeros(mut self, extents: &[Extent]) -> Self {
        self.hits.extend(zeros(extents));
        self
    }

    /// True when nothing of these bytes was hit.
    #[must_use]
    pub fn spares(&self, extent: Extent) -> bool {
        self.hits.iter().all(|hit| match hit {
            Hit::Over { at, bytes } => Extent::new(*at, bytes.len() as u64).intersect(&extent).is_empty(),
            Hit::Flip { at, .. } => Extent::new(*at, 1).intersect(&extent).is_empty(),
            Hit::Cut { size } => extent.end() <= *size,
        })
    }

    /// True when a file can still be had: its inode, its map and its bytes were not hit.
    #[must_use]
    pub fn spares_body(&self, body: &Body) -> bool {
        let parts = body.content.iter().chain(&body.nodes).chain([&body.place]);
        parts.into_iter().all(|part| self.spares(*part))
    }

    /// The volume as it looks after this.
    #[must_use]
    pub fn done_to(&self, intact: Arc<dyn ReadAt>) -> Damaged {
        Damaged { intact, damage: self.clone() }
    }

    fn size(&self, intact: u64) -> u64 {
        self.hits.iter().fold(intact, |size, hit| if let Hit::Cut { size: cut } = hit { size.min(*cut) } else { size })
    }
}

fn zeros(extents: &[Extent]) -> Vec<Hit> {
    extents.iter().map(|extent| Hit::Over { at: extent.offset, bytes: vec![0; extent.length as usize] }).collect()
}

fn noise(extents: &[Extent], dice: &Dice) -> Vec<Hit> {
    let noise = |extent: &Extent| random_bytes(extent.length as usize, dice.below(u64::MAX));
    extents.iter().map(|extent| Hit::Over { at: extent.offset, bytes: noise(extent) }).collect()
}

fn flips(pool: &[Extent], count: usize, dice: &Dice) -> Vec<Hit> {
    let flip = |extent: &Extent| Hit::Flip { at: extent.offset + dice.below(extent.length), mask: 1 << dice.below(8) };
    (0..count).filter_map(|_| pool.get(dice.index(pool.len()))).map(flip).collect()
}

/// So many of them, none twice.
fn draw(mut pool: Vec<Extent>, count: usize, dice: &Dice) -> Vec<Extent> {
    (0..count.min(pool.len())).map(|_| pool.swap_remove(dice.index(pool.len()))).collect()
}

/// An intact volume, seen through its damage.
#[derive(Debug)]
pub struct Damaged {
    intact: Arc<dyn ReadAt>,
    damage: Damage,
}

impl ReadAt for Damaged {
    fn size(&self) -> u64 {
        self.damage.size(self.intact.size())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let asked = Extent::new(offset, out.len() as u64);
        if offset.checked_add(asked.length).is_none_or(|end| end > self.size()) {
            return Err(IoError::OutOfRange { extent: asked, size: self.size() });
        }
        self.intact.read_at(offset, out)?;
        for hit in &self.damage.hits {
            match hit {
                Hit::Over { at, bytes } => {
                    let both = asked.intersect(&Extent::new(*at, bytes.len() as u64));
                    if !both.is_empty() {
                        let (to, from, length) = (both.offset - offset, both.offset - at, both.length as usize);
                        out[to as usize..][..length].copy_from_slice(&bytes[from as usize..][..length]);
                    }
                }
                Hit::Flip { at, mask } if asked.offset <= *at && *at < asked.end() => out[(at - offset) as usize] ^= mask,
                Hit::Flip { .. } | Hit::Cut { .. } => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::FileKind;
    use crate::testkit::volume::MemoryVolume;

    fn anatomy() -> Anatomy {
        let body = |number: u64, content: Extent| Body {
            inode: Inode::made_up(InodeNumber(number), FileKind::Directory, 0o755),
            place: Extent::new(4096 + number * 256, 256),
            content: vec![content],
            nodes: Vec::new(),
        };
        Anatomy {
            size: 64 << 10,
            block_bytes: 1024,
            superblock: vec![Extent::new(1024, 1024)],
            bodies: vec![body(2, Extent::new(8192, 2048)), body(12, Extent::new(16384, 1024)), body(13, Extent::new(40960, 700))],
            ..Anatomy::default()
        }
    }

    fn read(volume: &dyn ReadAt) -> Vec<u8> {
        let mut out = vec![0; volume.size() as usize];
        volume.read_at(0, &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_spared_reads_as_before_and_what_is_hit_does_not() {
        let intact: Arc<dyn ReadAt> = Arc::new(MemoryVolume::new(random_bytes(64 << 10, 7)));
        let before = read(&*intact);
        let classes = [
            (Class::Nothing, 0),
            (Class::Superblock, 1024),
            (Class::Root, 256),
            (Class::Metadata(2), 2048),
            (Class::InodeTable(1), 1024),
            (Class::Directories(4), 4096),
            (Class::Flips(5), 5),
            (Class::MetadataFlips(3), 3),
        ];
        for (class, most) in classes {
            for seed in 0..4 {
                let damage = Damage::plan(class, &anatomy(), seed);
                let after = read(&damage.done_to(Arc::clone(&intact)));
                let hit: Vec<u64> = (0..).zip(before.iter().zip(&after)).filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
                assert!(hit.len() <= most && hit.len() >= most / 2, "{class:?} {seed}: {}", hit.len());
                assert!(hit.iter().all(|at| !damage.spares(Extent::new(*at, 1))), "{class:?} {seed}");
                assert_eq!(damage, Damage::plan(class, &anatomy(), seed));
            }
        }
    }

    #[test]
    fn a_volume_that_was_cut_ends_there() {
        let damage = Damage::plan(Class::Truncated(50), &anatomy(), 0);
        let cut = damage.done_to(Arc::new(MemoryVolume::new(vec![1; 64 << 10])));
        assert_eq!(cut.size(), 655 * 50);
        assert!(cut.read_at(655 * 50 - 1, &mut [0; 2]).is_err());
        let survivors: Vec<u64> =
            anatomy().bodies.iter().filter(|body| damage.spares_body(body)).map(|body| body.inode.number.0).collect();
        assert_eq!(survivors, [2, 12]);
    }
}

//! What must be said of a wreck: everything that survived is found as it was, and nothing is made up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};

use icecore::base::extent::Extent;
use icecore::filesystem::{
    FileKind, Filesystem, FoundEntry, Inode, Proof, Scanned, Segment, Source, StrayBlock, Wreck, map_stretches,
};
use icecore::testkit::damage::{Body, Damage};

use crate::intact::Intact;

/// Everything that a wreck shows.
struct Salvaged {
    inodes: BTreeMap<u64, (Inode, Proof)>,
    lost: Vec<Range<u64>>,
    names: BTreeMap<u64, BTreeMap<Vec<u8>, u64>>,
    parents: BTreeMap<u64, u64>,
    strays: BTreeMap<u64, StrayBlock>,
}

fn collect(wreck: &dyn Wreck, complaints: &mut Vec<String>) -> Salvaged {
    let (mut inodes, mut lost, mut last) = (BTreeMap::new(), Vec::new(), 0);
    wreck
        .scan(1, &mut |scanned| {
            let number = match scanned {
                Scanned::Inode(found) => {
                    let number = found.inode.number.0;
                    inodes.insert(number, (found.inode, found.proof));
                    number
                }
                Scanned::Lost { inodes, .. } => {
                    lost.push(inodes.clone());
                    inodes.end - 1
                }
            };
            if number <= last {
                complaints.push(format!("the scan shows {number} after {last}"));
            }
            last = number;
            ControlFlow::Continue(())
        })
        .unwrap();
    let (mut names, mut parents): (BTreeMap<u64, BTreeMap<Vec<u8>, u64>>, _) = (BTreeMap::new(), BTreeMap::new());
    for (directory, _) in inodes.values().filter(|(inode, _)| inode.is_directory()) {
        let found = names.entry(directory.number.0).or_default();
        wreck.names(directory, &mut |entry| {
            match entry {
                FoundEntry::Name(name) => drop(found.insert(name.name, name.inode.0)),
                FoundEntry::Parent(parent) => drop(parents.insert(directory.number.0, parent.0)),
                FoundEntry::Lost(_) => {}
            }
            ControlFlow::Continue(())
        });
    }
    let mut strays = BTreeMap::new();
    wreck
        .strays(Extent::new(0, u64::MAX), &mut |stray| {
            strays.insert(stray.at, stray);
            ControlFlow::Continue(())
        })
        .unwrap();
    Salvaged { inodes, lost, names, parents, strays }
}

/// Everything that is wrong with what a wreck shows.
pub(crate) fn judge(intact: &Intact, damage: &Damage, wreck: &dyn Wreck) -> Vec<String> {
    let mut complaints = Vec::new();
    let salvaged = collect(wreck, &mut complaints);
    let mut missed = BTreeSet::new();
    for body in &intact.anatomy.bodies {
        complaints.extend(loss_complaint(body, damage, &salvaged, wreck));
        if damage.spares(body.place) {
            complaints.extend(inode_complaint(body, &salvaged).inspect(|_| missed.extend([body.inode.number.0])));
        }
        complaints.extend(content_complaint(intact, damage, body, wreck).filter(|_| !missed.contains(&body.inode.number.0)));
    }
    for (number, (inode, proof)) in &salvaged.inodes {
        let before = intact.ext.inode(inode.number);
        let as_before = before.as_ref().is_ok_and(|before| before == inode);
        if !as_before {
            complaints.push(format!(
                "inode {number} is shown ({proof:?}, {:?} of {} bytes) and is not so: {before:?}",
                inode.kind, inode.size
            ));
        }
    }
    complaints.extend(name_complaints(intact, damage, &salvaged));
    complaints
}

fn inode_complaint(body: &Body, salvaged: &Salvaged) -> Option<String> {
    let number = body.inode.number.0;
    match salvaged.inodes.get(&number) {
        Some((found, _)) if *found == body.inode => None,
        Some((found, _)) => Some(format!("inode {number} is shown as another: {} bytes and not {}", found.size, body.inode.size)),
        None if salvaged.lost.iter().any(|lost| lost.contains(&number)) => Some(format!("inode {number} is called lost")),
        None => Some(format!("inode {number} is missed")),
    }
}

/// What was hit and is not found is called lost, unless nothing stands there any more that could be.
fn loss_complaint(body: &Body, damage: &Damage, salvaged: &Salvaged, wreck: &dyn Wreck) -> Option<String> {
    let number = body.inode.number.0;
    let mut bytes = vec![0; body.place.length as usize];
    let is_blank = wreck.volume().read_at(body.place.offset, &mut bytes).is_ok() && bytes.iter().all(|byte| *byte == 0);
    let is_told = salvaged.inodes.contains_key(&number) || salvaged.lost.iter().any(|lost| lost.contains(&number));
    (!damage.spares(body.place) && !is_blank && !is_told).then(|| format!("inode {number} was hit, and nobody says so"))
}

fn segments(filesystem: &dyn Filesystem, inode: &Inode) -> Vec<Segment> {
    let mut all = Vec::new();
    map_stretches(filesystem, inode, |_, segments| segments.map(|segments| all.extend(segments))).unwrap();
    all
}

/// Of what survives, the map is as it was; of the rest, no part of the map is another one.
fn content_complaint(intact: &Intact, damage: &Damage, body: &Body, wreck: &dyn Wreck) -> Option<String> {
    if body.inode.kind != FileKind::Regular || !damage.spares(body.place) {
        return None;
    }
    let (before, now) = (segments(&intact.ext, &body.inode), segments(wreck, &body.inode));
    let number = body.inode.number.0;
    if damage.spares_body(body) {
        return (before != now).then(|| format!("the map of inode {number} is {now:?} in place of {before:?}"));
    }
    let end = now.last().map_or(0, |segment| segment.extent.end());
    if end != body.inode.size {
        return Some(format!("the map of inode {number} ends at {end}"));
    }
    let wrong = now.iter().find(|segment| !is_as_before(segment, &before));
    wrong.map(|segment| format!("the map of inode {number} has {segment:?}"))
}

/// A part of a map is lost, or says what the intact map says of these bytes.
fn is_as_before(segment: &Segment, before: &[Segment]) -> bool {
    let is_equal = |was: &Segment, both: Extent| match (&was.source, &segment.source) {
        (Source::Disk(was_at), Source::Disk(at)) => {
            was_at + (both.offset - was.extent.offset) == at + (both.offset - segment.extent.offset)
        }
        (Source::Hole | Source::Unwritten(_), Source::Hole | Source::Unwritten(_)) => true,
        (_, Source::Lost(_)) => true,
        (was, now) => was == now,
    };
    before.iter().all(|was| {
        let both = was.extent.intersect(&segment.extent);
        both.is_empty() || is_equal(was, both)
    })
}

fn name_complaints(intact: &Intact, damage: &Damage, salvaged: &Salvaged) -> Vec<String> {
    let mut complaints = Vec::new();
    for block in intact.blocks.iter().filter(|block| damage.spares(block.place)) {
        let number = block.directory.number.0;
        let own = salvaged.inodes.get(&number).filter(|(found, _)| *found == block.directory);
        let stray = salvaged.strays.get(&block.place.offset);
        let key = intact.ext.directory_key(&block.directory);
        for (name, inode) in &block.names {
            let named = salvaged.names.get(&number).and_then(|names| names.get(name)).copied();
            let strayed = stray.is_some_and(|stray| is_told(stray, name, *inode)) && stray.is_some_and(|stray| stray.key == key);
            let found = match &name[..] {
                b"." => true,
                b".." => own.is_none() || salvaged.parents.get(&number) == Some(inode),
                // Without its directory, a block must be found by its looks.
                _ => {
                    if own.is_some() {
                        named == Some(*inode)
                    } else {
                        strayed || is_too_plain(key, block.names.len())
                    }
                }
            };
            // Blocks that end before their directory does may lie behind an index that is lost.
            let unreachable = own.is_some() && (strayed || name == b"..") && !intact_map_is_spared(intact, damage, number);
            if !found && !unreachable {
                complaints.push(format!(
                    "directory {number}: the name {:?} is missed (own {}, {named:?}, stray {})",
                    String::from_utf8_lossy(name),
                    own.is_some(),
                    stray.is_some()
                ));
            }
        }
    }
    for (directory, names) in &salvaged.names {
        for (name, inode) in names {
            if intact.names.get(directory).and_then(|names| names.get(name)) != Some(inode) {
                complaints.push(format!("directory {directory}: the name {:?} is made up", String::from_utf8_lossy(name)));
            }
        }
    }
    complaints
}

fn is_told(stray: &StrayBlock, name: &[u8], inode: u64) -> bool {
    stray.names.iter().any(|found| found.name == name && found.inode.0 == inode)
}

/// A block without a checksum that holds a single name looks like nothing.
fn is_too_plain(key: Option<u64>, names: usize) -> bool {
    key.is_none() && names < 2
}

fn intact_map_is_spared(intact: &Intact, damage: &Damage, number: u64) -> bool {
    let body = intact.anatomy.bodies.iter().find(|body| body.inode.number.0 == number);
    body.is_none_or(|body| body.nodes.iter().all(|node| damage.spares(*node)))
}

//! What a damaged volume must still show, and what it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use icecore::base::extent::Extent;
use icecore::filesystem::{
    Entry, FileKind, Filesystem, FoundEntry, FoundInode, Inode, InodeNumber, Scanned, Source, Wreck, map_stretches,
};
use icecore::testkit::damage::{Body, Damage};

use crate::intact::Intact;
use crate::parts::{by_number, bytes};

/// Stands for a directory that is not known.
pub(crate) const NOBODY: InodeNumber = InodeNumber(u64::MAX);
pub(crate) fn scanned(wreck: &dyn Wreck, from: u64) -> BTreeMap<InodeNumber, FoundInode> {
    let (mut found, mut last) = (BTreeMap::new(), from);
    wreck
        .scan(from, &mut |scanned| {
            let (first, end) = match &scanned {
                Scanned::Inode(inode) => (inode.inode.number.0, inode.inode.number.0 + 1),
                Scanned::Lost { inodes, .. } => (inodes.start, inodes.end),
            };
            assert!(last <= first && first < end, "{first}..{end} after {last}");
            last = end;
            if let Scanned::Inode(inode) = scanned {
                found.insert(inode.inode.number, inode);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// Where the bytes of a file lie.
pub(crate) fn layout(filesystem: &dyn Filesystem, file: &Inode) -> Vec<(Extent, Source)> {
    let mut layout: Vec<(Extent, Source)> = Vec::new();
    map_stretches(filesystem, file, |_, segments| {
        layout.extend(segments.unwrap().into_iter().map(|segment| (segment.extent, segment.source)));
        Ok::<_, ()>(())
    })
    .unwrap();
    layout
}

/// Says what is wrong with a survivor.
pub(crate) fn survivor(intact: &Intact, wreck: &dyn Wreck, body: &Body, found: Option<&FoundInode>) -> Option<String> {
    let Some(found) = found else { return Some("not found".to_owned()) };
    let (is, was) = (&found.inode, &body.inode);
    if found.in_use == Some(false) || is != was {
        return Some(format!("found as {found:?}"));
    }
    match was.kind {
        FileKind::Regular if layout(wreck, is) != layout(&intact.xfs, was) => Some("lies elsewhere".to_owned()),
        FileKind::Regular if was.size < 1 << 20 => {
            let (mut one, mut two) = (vec![0; was.size as usize], vec![0; was.size as usize]);
            let read = (wreck.read(is, 0, &mut one).unwrap(), intact.xfs.read(was, 0, &mut two).unwrap());
            (read.0 != read.1 || one != two).then(|| "has other bytes".to_owned())
        }
        FileKind::Symlink if wreck.link_target(is).ok() != intact.xfs.link_target(was).ok() => Some("leads elsewhere".to_owned()),
        _ => None,
    }
}

/// The names that a directory must still show: those of its blocks that were not hit, or of its inode.
pub(crate) fn names_left(intact: &Intact, damage: &Damage, body: &Body) -> BTreeSet<(Vec<u8>, InodeNumber)> {
    let mut names = BTreeSet::new();
    if body.content.is_empty() && damage.spares(body.place) {
        let listed = |entry: Entry| {
            names.insert((entry.name, entry.inode));
            ControlFlow::Continue(())
        };
        let mut listed = listed;
        intact.xfs.list(&body.inode, &mut listed).unwrap();
    }
    for extent in &body.content {
        intact
            .xfs
            .strays(*extent, &mut |stray| {
                let block = Extent::new(stray.at, directory_bytes(intact));
                if damage.spares(block) {
                    names.extend(stray.names.into_iter().map(|name| (name.name, name.inode)));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    names
}

pub(crate) fn directory_bytes(intact: &Intact) -> u64 {
    let log = bytes(&*intact.source, 192, 1)[0];
    intact.cut.block_bytes << log
}

/// Names by directory, from whichever way finds them; and the parents that were found.
pub(crate) type Names = BTreeMap<InodeNumber, BTreeSet<(Vec<u8>, InodeNumber)>>;

pub(crate) fn names_found(
    wreck: &dyn Wreck,
    found: &BTreeMap<InodeNumber, FoundInode>,
) -> (Names, BTreeMap<InodeNumber, InodeNumber>) {
    let (mut names, mut parents) = (Names::new(), BTreeMap::new());
    for directory in found.values().filter(|found| found.inode.is_directory() && found.in_use != Some(false)) {
        let own = names.entry(directory.inode.number).or_default();
        wreck.names(&directory.inode, &mut |entry| {
            match entry {
                FoundEntry::Name(name) => drop(own.insert((name.name, name.inode))),
                FoundEntry::Parent(parent) => drop(parents.insert(directory.inode.number, parent)),
                FoundEntry::Lost(_) => {}
            }
            ControlFlow::Continue(())
        });
    }
    let whole = Extent::new(0, u64::MAX);
    wreck
        .strays(whole, &mut |stray| {
            // Without checksums, only the first block of a directory says whose it is.
            let directory = stray.directory.unwrap_or(NOBODY);
            let own = names.entry(directory).or_default();
            own.extend(stray.names.into_iter().map(|name| (name.name, name.inode)));
            parents.extend(stray.parent.map(|parent| (directory, parent)));
            ControlFlow::Continue(())
        })
        .unwrap();
    (names, parents)
}

/// Everything that must be true of a damaged volume.
pub(crate) fn check(intact: &Intact, class: &str, damage: &Damage, is_free_space_known: bool) {
    let wreck = intact.wreck(damage);
    let found = scanned(&*wreck, 0);
    let known = by_number(&intact.anatomy);
    let mut wrong = Vec::new();
    for body in intact.anatomy.bodies.iter().filter(|body| damage.spares_body(body)) {
        let problem = survivor(intact, &*wreck, body, found.get(&body.inode.number));
        wrong.extend(problem.map(|problem| format!("inode {} {:?}: {problem}", body.inode.number.0, body.inode.kind)));
    }
    for ghost in found.values().filter(|found| !known.contains_key(&found.inode.number)) {
        let is_shown = ghost.in_use == Some(true) || ghost.in_use.is_none() && is_free_space_known;
        wrong.extend(is_shown.then(|| format!("inode {} never was: {:?}", ghost.inode.number.0, ghost.in_use)));
    }
    let (names, _) = names_found(&*wreck, &found);
    for body in intact.anatomy.bodies.iter().filter(|body| body.inode.is_directory()) {
        let own = names.get(&body.inode.number).cloned().unwrap_or_default();
        let is_reached = body.nodes.iter().chain([&body.place]).all(|part| damage.spares(*part));
        let nobodys = names.get(&NOBODY).filter(|_| !is_reached).cloned().unwrap_or_default();
        let missing = names_left(intact, damage, body).difference(&own).filter(|name| !nobodys.contains(name)).count();
        wrong.extend((missing > 0).then(|| format!("directory {}: {missing} names are missing", body.inode.number.0)));
    }
    assert_eq!(wreck.root(), intact.xfs.root(), "{} {class}", intact.what);
    let count = wrong.len();
    wrong.truncate(12);
    assert!(wrong.is_empty(), "{} {class}: {count} faults, damage {:?}\n{}", intact.what, wreck.damage(), wrong.join("\n"));
}

//! The toy filesystem's writer: random changes to files, written in place or only into a journal, with a clock that seldom ticks.
//!
//! ```text
//!   block 0: superblock | inode table, 32 inodes a block | data | journal: list of targets, then their blocks
//! ```
//! Because the clock seldom ticks, an inode often stays as it was while the names of its directory change: the hardest case for
//! whoever wants to know what changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::testkit::dice::Dice;

/// Bytes in a block.
pub const BLOCK: usize = 4096;
/// Bytes in an inode.
pub const INODE: usize = 128;
/// Inodes, of which number 0 is none.
pub const INODES: u64 = 640;
/// Runs that an inode has room for.
pub const MAX_RUNS: usize = 8;
/// The number of the root directory.
pub const ROOT: u64 = 1;
/// First block of data.
pub const DATA: u64 = 1 + INODES * INODE as u64 / BLOCK as u64;
/// Blocks of data.
pub const DATA_BLOCKS: u64 = 1500;
/// First block of the journal.
pub const JOURNAL: u64 = DATA + DATA_BLOCKS;
/// Blocks that the journal has room for, beside its list.
pub const JOURNAL_BLOCKS: u64 = 60;
const BLOCKS: u64 = JOURNAL + 1 + JOURNAL_BLOCKS;
const LONG_DIRECTORY_BYTES: usize = 6 * BLOCK;

/// A file or directory.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// True for a directory.
    pub is_directory: bool,
    /// Names that lead to it.
    pub links: u32,
    /// Length in bytes.
    pub size: u64,
    /// Seconds of the last change.
    pub time: u64,
    /// How often the number was used.
    pub generation: u32,
    runs: Vec<(u64, u64)>,
    entries: BTreeMap<Vec<u8>, u64>,
}

/// The disk, and what is on it.
#[derive(Debug, Clone)]
pub struct ToyDisk {
    /// What is in use, by number.
    pub nodes: BTreeMap<u64, Node>,
    generations: BTreeMap<u64, u32>,
    clock: u64,
    serial: u64,
    free: BTreeSet<u64>,
    placed: Vec<u8>,
}

impl Default for ToyDisk {
    fn default() -> Self {
        let root = Node { is_directory: true, links: 1, ..Node::default() };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            generations: BTreeMap::new(),
            clock: 1_700_000_000,
            serial: 0,
            free: (DATA..JOURNAL).collect(),
            placed: vec![0; BLOCKS as usize * BLOCK],
        }
    }
}

impl ToyDisk {
    /// Every name, with the inode it leads to and the directory that holds it.
    #[must_use]
    pub fn names(&self) -> BTreeSet<(u64, u64, Vec<u8>)> {
        let entries = self
            .nodes
            .iter()
            .flat_map(|(parent, node)| node.entries.iter().map(move |(name, inode)| (*inode, *parent, name.clone())));
        entries.chain([(ROOT, ROOT, Vec::new())]).collect()
    }

    /// Changes something, or nothing if that is not possible just now.
    pub fn mutate(&mut self, dice: &Dice) {
        if dice.chance(100) {
            self.clock += 1;
        }
        match dice.below(100) {
            0..30 => self.create(dice, false),
            30..40 => self.create(dice, true),
            40..55 => self.remove(dice),
            55..70 => self.rename(dice),
            70..80 => self.link(dice),
            _ => self.write(dice),
        }
    }

    fn pick(&self, dice: &Dice, is_directory: bool) -> Option<u64> {
        let fitting: Vec<u64> = self.nodes.iter().filter(|(_, node)| node.is_directory == is_directory).map(|(n, _)| *n).collect();
        fitting.get(dice.index(fitting.len())).copied()
    }

    fn pick_name(&self, dice: &Dice) -> Option<(u64, Vec<u8>, u64)> {
        let names: Vec<_> = self.names().into_iter().filter(|(_, _, name)| !name.is_empty()).collect();
        names.get(dice.index(names.len())).map(|(inode, parent, name)| (*parent, name.clone(), *inode))
    }

    fn name(&mut self) -> Vec<u8> {
        self.serial += 1;
        format!("name{:05}", self.serial).into_bytes()
    }

    fn touch(&mut self, number: u64) {
        let clock = self.clock;
        if let Some(node) = self.nodes.get_mut(&number) {
            node.time = clock;
        }
    }

    fn create(&mut self, dice: &Dice, is_directory: bool) {
        let Some(parent) = self.pick(dice, true) else { return };
        let free: Vec<u64> = (ROOT..INODES).filter(|number| !self.nodes.contains_key(number)).collect();
        // Low numbers are taken again soon, others leave whole pages empty.
        let Some(number) = free.get(dice.index(if dice.chance(700) { free.len().min(3) } else { free.len() })).copied() else {
            return;
        };
        let generation = self.generations.entry(number).or_default();
        *generation += 1;
        let node = Node { is_directory, links: 1, time: self.clock, generation: *generation, ..Node::default() };
        self.nodes.insert(number, node);
        let name = self.name();
        self.enter(parent, name, number);
    }

    fn enter(&mut self, parent: u64, name: Vec<u8>, number: u64) {
        if let Some(directory) = self.nodes.get_mut(&parent) {
            directory.entries.insert(name, number);
        }
        self.touch(parent);
        self.touch(number);
    }

    fn leave(&mut self, parent: u64, name: &[u8]) {
        if let Some(directory) = self.nodes.get_mut(&parent) {
            directory.entries.remove(name);
        }
        self.touch(parent);
    }

    fn remove(&mut self, dice: &Dice) {
        let Some((parent, name, number)) = self.pick_name(dice) else { return };
        if self.nodes.get(&number).is_none_or(|node| !node.entries.is_empty()) {
            return;
        }
        self.leave(parent, &name);
        let clock = self.clock;
        let Some(node) = self.nodes.get_mut(&number) else { return };
        node.links -= 1;
        node.time = clock;
        if node.links == 0
            && let Some(gone) = self.nodes.remove(&number)
        {
            self.free.extend(gone.runs.iter().flat_map(|(start, count)| *start..start + count));
        }
    }

    fn rename(&mut self, dice: &Dice) {
        let (Some((parent, name, number)), Some(target)) = (self.pick_name(dice), self.pick(dice, true)) else { return };
        if self.is_below(target, number) {
            return;
        }
        self.leave(parent, &name);
        let name = self.name();
        self.enter(target, name, number);
    }

    /// True if `number` is `above`, or lies below it.
    fn is_below(&self, number: u64, above: u64) -> bool {
        let parents: BTreeMap<u64, u64> = self.names().into_iter().map(|(inode, parent, _)| (inode, parent)).collect();
        let mut at = number;
        while at != ROOT && at != above {
            at = parents.get(&at).copied().unwrap_or(ROOT);
        }
        at == above
    }

    fn link(&mut self, dice: &Dice) {
        let (Some(number), Some(parent)) = (self.pick(dice, false), self.pick(dice, true)) else { return };
        if let Some(node) = self.nodes.get_mut(&number) {
            node.links += 1;
        }
        let name = self.name();
        self.enter(parent, name, number);
    }

    fn write(&mut self, dice: &Dice) {
        let Some(number) = self.pick(dice, false) else { return };
        self.resize(number, dice.below(60_000), dice);
        self.touch(number);
    }

    fn resize(&mut self, number: u64, size: u64, dice: &Dice) {
        let Some(node) = self.nodes.get_mut(&number) else { return };
        let wanted = size.div_ceil(BLOCK as u64);
        while node.runs.iter().map(|(_, count)| count).sum::<u64>() > wanted {
            let Some((start, count)) = node.runs.last_mut() else { break };
            *count -= 1;
            self.free.insert(*start + *count);
            if *count == 0 {
                node.runs.pop();
            }
        }
        while node.runs.iter().map(|(_, count)| count).sum::<u64>() < wanted {
            let next = node.runs.last().map_or(0, |(start, count)| start + count);
            let scattered_per_mille = if node.is_directory { 900 } else { 300 };
            let scatter = node.runs.is_empty() || (node.runs.len() < MAX_RUNS && dice.chance(scattered_per_mille));
            let found = if !scatter && self.free.contains(&next) {
                Some(next)
            } else {
                self.free.iter().nth(dice.index(self.free.len())).copied()
            };
            let Some(block) = found.filter(|block| *block == next || node.runs.len() < MAX_RUNS) else { break };
            self.free.remove(&block);
            match node.runs.last_mut() {
                Some((start, count)) if *start + *count == block => *count += 1,
                _ => node.runs.push((block, 1)),
            }
        }
        let room = node.runs.iter().map(|(_, count)| count).sum::<u64>() * BLOCK as u64;
        node.size = size.min(room);
    }

    /// What the disk holds once some of what changed is in place and the rest is in the journal.
    pub fn image(&mut self, dice: &Dice) -> Vec<u8> {
        let directories: Vec<(u64, Vec<u8>)> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.is_directory)
            .map(|(number, node)| (*number, entries(*number, node)))
            .collect();
        for (number, bytes) in &directories {
            self.resize(*number, bytes.len() as u64, dice);
        }
        let mut wanted = self.placed.clone();
        wanted[..JOURNAL as usize * BLOCK].fill(0);
        wanted[..4].copy_from_slice(b"TOY1");
        for (number, node) in &self.nodes {
            let at = BLOCK + *number as usize * INODE;
            wanted[at..at + INODE].copy_from_slice(&inode(node));
        }
        for (number, bytes) in &directories {
            let Some(node) = self.nodes.get(number) else { continue };
            let blocks = node.runs.iter().flat_map(|(start, count)| *start..start + count);
            for (block, piece) in blocks.zip(bytes.chunks(BLOCK)) {
                wanted[block as usize * BLOCK..][..piece.len()].copy_from_slice(piece);
            }
        }
        self.settle(&wanted, dice)
    }

    fn settle(&mut self, wanted: &[u8], dice: &Dice) -> Vec<u8> {
        let share = [0, 300, 1000][dice.index(3)];
        let mut journal = Vec::new();
        for block in 1..JOURNAL {
            let place = block as usize * BLOCK..(block as usize + 1) * BLOCK;
            if self.placed[place.clone()] == wanted[place.clone()] {
                continue;
            }
            if journal.len() < JOURNAL_BLOCKS as usize && dice.chance(share) {
                journal.push(block);
            } else {
                self.placed[place.clone()].copy_from_slice(&wanted[place]);
            }
        }
        let mut image = self.placed.clone();
        image[..4].copy_from_slice(b"TOY1");
        let list = JOURNAL as usize * BLOCK;
        image[list..list + 8].copy_from_slice(&(journal.len() as u64).to_le_bytes());
        for (index, block) in journal.iter().enumerate() {
            image[list + 8 + index * 8..][..8].copy_from_slice(&block.to_le_bytes());
            let to = list + (index + 1) * BLOCK;
            image[to..to + BLOCK].copy_from_slice(&wanted[*block as usize * BLOCK..][..BLOCK]);
        }
        image
    }
}

/// Every fourth directory is scattered, and as long whatever it holds: behind its names it has dead entries, which lead to inode 0.
fn entries(number: u64, node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, inode) in &node.entries {
        out.extend_from_slice(&(*inode as u32).to_le_bytes());
        out.push(name.len() as u8);
        out.extend_from_slice(name);
    }
    while number.is_multiple_of(4) && out.len() + 5 <= LONG_DIRECTORY_BYTES {
        let length = match LONG_DIRECTORY_BYTES - out.len() {
            left @ ..=260 => left,
            // So that as much is left as an entry takes at least.
            261..265 => 255,
            _ => 260,
        };
        out.extend_from_slice(&[0, 0, 0, 0, (length - 5) as u8]);
        out.resize(out.len() + length - 5, 0);
    }
    out
}

fn inode(node: &Node) -> [u8; INODE] {
    let mut out = Vec::with_capacity(INODE);
    out.extend_from_slice(&[1, node.is_directory.into(), 0, node.runs.len() as u8]);
    out.extend_from_slice(&node.links.to_le_bytes());
    out.extend_from_slice(&node.size.to_le_bytes());
    out.extend_from_slice(&node.time.to_le_bytes());
    out.extend_from_slice(&node.generation.to_le_bytes());
    for (start, count) in &node.runs {
        out.extend_from_slice(&(*start as u32).to_le_bytes());
        out.extend_from_slice(&(*count as u32).to_le_bytes());
    }
    out.resize(INODE, 0);
    out.try_into().unwrap_or([0; INODE])
}

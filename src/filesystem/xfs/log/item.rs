//! What a transaction changes: one object each, as regions of bytes of which the first says what they are.

/// No item has more regions: a change in every other piece of the longest buffer.
const MOST_REGIONS: u16 = 257;

const EXTENT_FREE_INTENT: u16 = 0x1236;
const UNLINKED: u16 = 0x1238;
const INODE: u16 = 0x123b;
const BUFFER: u16 = 0x123c;
const QUOTA: u16 = 0x123d;
const INODE_CREATE: u16 = 0x123f;
const MAP_INTENT: u16 = 0x1244;
const MAP_DONE: u16 = 0x1245;
const EXCHANGE_INTENT: u16 = 0x1248;
const EXCHANGE_DONE: u16 = 0x1249;
/// The last of the intents that only real-time volumes have.
const REALTIME_LAST: u16 = 0x124f;

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Bytes of a buffer.
    Buffer,
    /// An inode.
    Inode,
    /// A chunk of new inodes.
    InodeCreate,
    /// A change of a block map was begun.
    MapIntent,
    /// And finished.
    MapDone,
    /// An exchange between two block maps was begun.
    ExchangeIntent,
    /// And finished.
    ExchangeDone,
    /// Nothing that a reader sees. An intent to free blocks that was not carried out leaves them in use, which is the safe side; one
    /// to record owners or sharers changes no file; one to set an attribute changes it whole when it is carried out, or not yet.
    /// Quotas are not read.
    Ignored,
    /// A kind that is not known.
    Unknown(u16),
}

/// A change.
#[derive(Debug, Default)]
pub(super) struct Item {
    regions: Vec<Vec<u8>>,
    wanted: u16,
}

impl Item {
    /// An item that begins with this region, which is not yet added.
    pub(super) fn begin(first: &[u8]) -> Result<Self, String> {
        let wanted = number(first, 2).ok_or_else(|| format!("a log item whose first region has {} bytes", first.len()))?;
        if wanted == 0 || wanted > MOST_REGIONS {
            return Err(format!("a log item of {wanted} regions"));
        }
        Ok(Self { regions: Vec::new(), wanted })
    }

    /// Adds a region.
    pub(super) fn add(&mut self, region: &[u8]) {
        self.regions.push(region.to_vec());
    }

    /// Adds to the last region.
    pub(super) fn extend(&mut self, more: &[u8]) {
        if let Some(region) = self.regions.last_mut() {
            region.extend_from_slice(more);
        }
    }

    /// True when all its regions are there.
    pub(super) fn is_complete(&self) -> bool {
        self.regions.len() >= usize::from(self.wanted)
    }

    /// True when no region is there.
    pub(super) fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// True while the first region is the last.
    pub(super) fn is_first_region(&self) -> bool {
        self.regions.len() == 1
    }

    /// The region that says what the others are.
    pub(super) fn format(&self) -> &[u8] {
        self.region(0).unwrap_or_default()
    }

    /// One of its regions.
    pub(super) fn region(&self, index: usize) -> Option<&[u8]> {
        self.regions.get(index).map(Vec::as_slice)
    }

    /// The regions after the first.
    pub(super) fn content(&self) -> impl Iterator<Item = &[u8]> {
        self.regions.iter().skip(1).map(Vec::as_slice)
    }

    /// What kind of change this is.
    pub(super) fn kind(&self) -> Kind {
        match number(self.format(), 0).unwrap_or(0) {
            BUFFER => Kind::Buffer,
            INODE => Kind::Inode,
            INODE_CREATE => Kind::InodeCreate,
            MAP_INTENT => Kind::MapIntent,
            MAP_DONE => Kind::MapDone,
            EXCHANGE_INTENT => Kind::ExchangeIntent,
            EXCHANGE_DONE => Kind::ExchangeDone,
            EXTENT_FREE_INTENT..=UNLINKED | QUOTA..=REALTIME_LAST => Kind::Ignored,
            other => Kind::Unknown(other),
        }
    }
}

/// Two bytes in the byte order of the machine that wrote them, which the record's header says is the little one.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

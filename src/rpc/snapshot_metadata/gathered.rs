//! What was told so far: every range is checked against the rules of the interface, clipped, and joined with its neighbours.

use thiserror::Error;

use super::error::MetadataError;
use super::limits::Limits;
use super::{BlockStyle, Metadata};
use crate::base::extent::{Extent, ExtentSet};

/// The last range may reach beyond the volume, because the driver rounds up to its own blocks; none has blocks larger than this.
const LARGEST_BLOCK_BYTES: u64 = 64 << 20;
/// The first coarser grid when there are too many ranges to hold.
const FIRST_GRANULE_BYTES: u64 = 8192;

/// A range as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tuple {
    pub(super) offset: i64,
    pub(super) size: i64,
}

/// A message as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) style: Option<BlockStyle>,
    pub(super) capacity: i64,
    pub(super) tuples: Vec<Tuple>,
}

/// A rule of the interface that an answer breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamFault {
    /// Neither blocks of one length nor ranges of any.
    #[error("a message does not say how its ranges are told")]
    NoStyle,
    /// The way of telling changes.
    #[error("its ranges are told as {from:?} first and as {to:?} later")]
    StyleChanged {
        /// Before.
        from: BlockStyle,
        /// After.
        to: BlockStyle,
    },
    /// The size of the volume changes.
    #[error("the volume has {from} bytes first and {to} later")]
    CapacityChanged {
        /// Before.
        from: u64,
        /// After.
        to: i64,
    },
    /// An offset below zero, or nothing in the range.
    #[error("a range of {size} bytes at {offset}")]
    NoRange {
        /// As it is told.
        offset: i64,
        /// As it is told.
        size: i64,
    },
    /// The range lies outside the volume.
    #[error("a range of {size} bytes at {offset}, beyond the end of a volume of {capacity}")]
    Beyond {
        /// As it is told.
        offset: u64,
        /// As it is told.
        size: u64,
        /// Size of the volume.
        capacity: u64,
    },
    /// The range begins before the one that came before it.
    #[error("{next} comes after {before}")]
    OutOfOrder {
        /// The earlier one.
        before: Extent,
        /// The one at fault.
        next: Extent,
    },
    /// Two ranges share bytes.
    #[error("{next} overlaps {before}")]
    Overlap {
        /// The earlier one.
        before: Extent,
        /// The one at fault.
        next: Extent,
    },
    /// Blocks of one length have two.
    #[error("blocks of {length} bytes, but {odd}")]
    UnevenBlocks {
        /// The length of the first.
        length: u64,
        /// The one at fault.
        odd: Extent,
    },
    /// There is no end of ranges.
    #[error("more than {limit} ranges")]
    TooManyRanges {
        /// How many are borne.
        limit: u64,
    },
    /// There is no end of messages.
    #[error("more than {limit} messages without a range")]
    TooManyEmpty {
        /// How many are borne.
        limit: u64,
    },
}

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Gathered {
    device_bytes: u64,
    limits: Limits,
    extents: ExtentSet,
    granule: u64,
    /// Everything below is told.
    position: u64,
    /// Everything below was told by an earlier stream.
    resumed_at: u64,
    /// The range before, in this stream.
    before: Option<Extent>,
    style: Option<BlockStyle>,
    block_bytes: Option<u64>,
    tuples: u64,
    empty_messages: u64,
}

impl Gathered {
    /// Nothing is told yet of a volume that has to have `device_bytes`.
    pub(super) fn new(device_bytes: u64, limits: Limits) -> Self {
        Self {
            device_bytes,
            limits,
            extents: ExtentSet::new(),
            granule: FIRST_GRANULE_BYTES,
            position: 0,
            resumed_at: 0,
            before: None,
            style: None,
            block_bytes: None,
            tuples: 0,
            empty_messages: 0,
        }
    }

    /// Up to where ranges are told, and where the next stream begins: always at the end of a range.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The last range ends where the volume does.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.device_bytes
    }

    /// What follows comes from another stream. It may repeat what is known: the order of ranges holds within a stream.
    pub(super) fn begin_stream(&mut self) {
        (self.resumed_at, self.before) = (self.position, None);
    }

    /// Takes a message in, or says which rule it breaks.
    pub(super) fn take(&mut self, message: &Message) -> Result<(), MetadataError> {
        self.check_capacity(message.capacity)?;
        self.check_style(message.style)?;
        if message.tuples.is_empty() {
            self.empty_messages += 1;
            let limit = self.limits.empty_messages;
            return if self.empty_messages > limit { Err(StreamFault::TooManyEmpty { limit }.into()) } else { Ok(()) };
        }
        message.tuples.iter().try_for_each(|tuple| self.take_tuple(*tuple)).map_err(MetadataError::from)
    }

    /// The whole answer. A stream without a message tells no size, and then the device's own counts.
    pub(super) fn finish(self) -> Metadata {
        Metadata { extents: self.extents, capacity: self.device_bytes, style: self.style }
    }

    fn check_capacity(&self, capacity: i64) -> Result<(), MetadataError> {
        let device = self.device_bytes;
        match u64::try_from(capacity) {
            Ok(told) if told == device => Ok(()),
            // The first message was of the device's size, or there would be no second.
            _ if self.style.is_some() => Err(StreamFault::CapacityChanged { from: device, to: capacity }.into()),
            _ => Err(MetadataError::OtherSize { capacity, device }),
        }
    }

    fn check_style(&mut self, style: Option<BlockStyle>) -> Result<(), StreamFault> {
        let to = style.ok_or(StreamFault::NoStyle)?;
        match self.style.replace(to) {
            Some(from) if from != to => Err(StreamFault::StyleChanged { from, to }),
            _ => Ok(()),
        }
    }

    fn take_tuple(&mut self, tuple: Tuple) -> Result<(), StreamFault> {
        let told = self.checked(tuple)?;
        self.check_order(told)?;
        self.check_length(told)?;
        let limit = self.limits.tuples;
        self.tuples += 1;
        if self.tuples > limit {
            return Err(StreamFault::TooManyRanges { limit });
        }
        let inside = told.intersect(&Extent::between(self.resumed_at, self.device_bytes));
        self.extents.insert(inside);
        self.position = self.position.max(told.end().min(self.device_bytes));
        self.before = Some(told);
        if self.extents.count() > self.limits.extents {
            self.coarsen();
        }
        Ok(())
    }

    /// The range as it is told, which begins within the volume and does not end far behind it.
    fn checked(&self, Tuple { offset, size }: Tuple) -> Result<Extent, StreamFault> {
        let (Ok(start), Ok(length @ 1..)) = (u64::try_from(offset), u64::try_from(size)) else {
            return Err(StreamFault::NoRange { offset, size });
        };
        let capacity = self.device_bytes;
        let told = Extent::new(start, length);
        let overshoot = told.end().saturating_sub(capacity);
        if start >= capacity || overshoot >= LARGEST_BLOCK_BYTES {
            return Err(StreamFault::Beyond { offset: start, size: length, capacity });
        }
        Ok(told)
    }

    fn check_order(&self, next: Extent) -> Result<(), StreamFault> {
        match self.before {
            Some(before) if next.offset < before.offset => Err(StreamFault::OutOfOrder { before, next }),
            Some(before) if next.offset < before.end() => Err(StreamFault::Overlap { before, next }),
            _ => Ok(()),
        }
    }

    /// The last block of a volume may be short, if the driver does not round up.
    fn check_length(&mut self, told: Extent) -> Result<(), StreamFault> {
        if self.style != Some(BlockStyle::Fixed) {
            return Ok(());
        }
        let is_last = told.end() >= self.device_bytes;
        match self.block_bytes {
            None if is_last => Ok(()),
            None => {
                self.block_bytes = Some(told.length);
                Ok(())
            }
            Some(length) if told.length == length || (is_last && told.length < length) => Ok(()),
            Some(length) => Err(StreamFault::UnevenBlocks { length, odd: told }),
        }
    }

    /// Joins neighbours until half of the room is free again. What is told too much is read too much, and nothing is missed.
    fn coarsen(&mut self) {
        while self.extents.count() > self.limits.extents / 2 && self.granule < self.device_bytes {
            self.extents = self.extents.align_outward(self.granule, self.device_bytes);
            self.granule = self.granule.saturating_mul(2);
        }
    }
}

#[cfg(test)]
#[path = "gathered/tests.rs"]
mod tests;

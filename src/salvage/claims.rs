//! Where content lies: what of it is lost, what more than one file claims, and what the filesystem calls free.

use rusqlite::params;

use super::account::Account;
use super::error::SalvageError;
use super::finds::Finds;
use crate::base::extent::Extent;
use crate::filesystem::{Allocation, Inode, Proof, Segment, Source, Wreck, map_stretches};

/// Stretches that are looked through in one file. A sparse file of a petabyte has as many.
const MAX_STRETCHES: usize = 1 << 20;

/// Notes the claims of one inode.
pub(super) fn add(wreck: &dyn Wreck, finds: &Finds, inode: &Inode, proof: Proof) -> Result<(), SalvageError> {
    let (number, shares) = (inode.number.0, wreck.may_share(inode));
    let (mut missing, mut stretches, mut account) = (0, 0, Account::new(wreck.identity().block_bytes));
    map_stretches(wreck, inode, |stretch, segments| {
        stretches += 1;
        if stretches > MAX_STRETCHES {
            return Err(Ended::TooLong);
        }
        match segments {
            Ok(segments) => {
                for segment in &segments {
                    missing += claim(finds, number, segment, shares)?;
                    account.add(segment);
                }
            }
            Err(_unreadable) => missing += stretch.length,
        }
        Ok(())
    })
    .or_else(|ended| match ended {
        Ended::TooLong => finds.doubt(number, "its length cannot be: it has more holes than can be looked through"),
        Ended::Failed(error) => Err(error),
    })?;
    if proof > Proof::Mended
        && missing == 0
        && let Some(contradiction) = account.contradiction(wreck, inode)
    {
        finds.doubt(number, &contradiction)?;
    }
    if missing > 0 {
        finds.run("UPDATE inode SET missing = ? WHERE number = ?", params![missing.cast_signed(), number.cast_signed()])?;
    }
    Ok(())
}

enum Ended {
    TooLong,
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Ended {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// Notes one claim; returns how many bytes are lost instead.
fn claim(finds: &Finds, number: u64, segment: &Segment, shares: bool) -> Result<u64, rusqlite::Error> {
    match segment.source {
        Source::Lost(_) => return Ok(segment.extent.length),
        Source::Hole | Source::Inline(_) => {}
        Source::Disk(at) | Source::Unwritten(at) => {
            let place = Extent::new(at, segment.extent.length);
            let (first, after) = (place.offset.cast_signed(), place.end().cast_signed());
            finds.run("INSERT INTO claim VALUES (?, ?, ?, ?)", params![first, after, number.cast_signed(), shares])?;
        }
    }
    Ok(0)
}

/// The claim that reaches furthest of those that were met.
struct Furthest {
    after: i64,
    inode: i64,
    shares: bool,
}

/// Makes it quick to go through all claims in their order.
pub(super) fn index(finds: &Finds) -> Result<(), SalvageError> {
    finds.run("CREATE INDEX claim_first ON claim (first)", &[])?;
    Ok(())
}

/// Notes doubts about every two files that claim the same bytes and may not share them, and about files that claim bytes twice.
pub(super) fn find_double(finds: &Finds) -> Result<(), SalvageError> {
    let mut furthest = Furthest { after: i64::MIN, inode: 0, shares: false };
    finds.each("SELECT first, after, inode, shares FROM claim ORDER BY first", &mut |row| {
        let (first, after, inode, shares): (i64, i64, i64, bool) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        if first < furthest.after && !(shares && furthest.shares) {
            if inode == furthest.inode {
                finds.doubt(inode.cast_unsigned(), &format!("its map leads to byte {first} of the volume twice"))?;
            } else {
                doubt_both(finds, inode, furthest.inode, first)?;
            }
        }
        if after > furthest.after {
            furthest = Furthest { after, inode, shares };
        }
        Ok(())
    })?;
    Ok(())
}

/// Of two claimants, the one with the weaker proof is doubtful; if they are equal, both are.
fn doubt_both(finds: &Finds, one: i64, other: i64, at: i64) -> Result<(), rusqlite::Error> {
    let (one, other) = (one.cast_unsigned(), other.cast_unsigned());
    let proof = |number| finds.inode(number).map(|found| found.map(|found| found.proof));
    let (first, second) = (proof(one)?, proof(other)?);
    for (number, rival, weaker) in [(one, other, first >= second), (other, one, second >= first)] {
        if weaker {
            finds.doubt(number, &format!("byte {at} of the volume is claimed by inode {rival} too"))?;
        }
    }
    Ok(())
}

/// Notes doubts about files without proof whose maps lead to what the filesystem keeps for itself.
pub(super) fn find_misled(wreck: &dyn Wreck, finds: &Finds) -> Result<(), SalvageError> {
    let structures = wreck.own_structures();
    if structures.is_empty() {
        return Ok(());
    }
    let question = format!(
        "SELECT first, after, claim.inode FROM claim JOIN inode ON inode.number = claim.inode WHERE proof > {} AND NOT directory",
        Proof::Mended as i64
    );
    finds.each(&question, &mut |row| {
        let (first, after, inode): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = Extent::between(first.cast_unsigned(), after.cast_unsigned());
        match structures.first_within(&place) {
            Some(both) => {
                let what = format!("byte {} of the volume, which it claims, is the file system's own", both.offset);
                finds.doubt(inode.cast_unsigned(), &what)
            }
            None => Ok(()),
        }
    })?;
    Ok(())
}

/// Notes doubts about files whose bytes the filesystem calls free.
///
/// Gives back what is wrong with the accounts of free space, unless that follows from damage that is known.
pub(super) fn find_free(wreck: &dyn Wreck, finds: &Finds) -> Result<Vec<String>, SalvageError> {
    let Allocation { free, doubts } = wreck.allocation();
    let follows = !wreck.damage().is_empty() || wreck.view().stale().is_some();
    let doubts =
        if follows { Vec::new() } else { doubts.into_iter().map(|doubt| format!("free space: {}", doubt.reason)).collect() };
    if free.is_empty() {
        return Ok(doubts);
    }
    finds.each("SELECT first, after, inode FROM claim ORDER BY first", &mut |row| {
        let (first, after, inode): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = Extent::between(first.cast_unsigned(), after.cast_unsigned());
        match free.first_within(&place) {
            Some(both) => {
                finds.doubt(inode.cast_unsigned(), &format!("byte {} of the volume, which it claims, is marked free", both.offset))
            }
            None => Ok(()),
        }
    })?;
    Ok(doubts)
}

/// Shows what nobody claims, ascending.
pub(super) fn gaps(
    finds: &Finds,
    size: u64,
    visit: &mut dyn FnMut(Extent) -> Result<(), SalvageError>,
) -> Result<(), SalvageError> {
    let (mut at, mut failed) = (0, None);
    finds.each("SELECT first, after FROM claim ORDER BY first", &mut |row| {
        let (first, after): (i64, i64) = (row.get(0)?, row.get(1)?);
        let gap = Extent::between(at, first.cast_unsigned());
        at = at.max(after.cast_unsigned());
        if failed.is_none() && !gap.is_empty() {
            failed = visit(gap).err();
        }
        Ok(())
    })?;
    failed.map_or_else(|| visit(Extent::between(at, size)), Err)
}

//! Collection: what no point and no lease reaches is condemned, and deleted once nobody can still need it.
//!
//! ```text
//!   1 list packs   2 leases   3 points   4 leases again   5 mark   6 condemn   ... wait ...   1-5 again   7 delete, rewrite
//! ```
//! A pack that appears after step 1 is not judged. A writer seen in step 2 protects its packs by the lease in their header; one that
//! ended before step 2 has its point in step 3; one that began after step 2 writes packs after step 1. What a writer builds on is
//! there as long as its lease; should somebody delete it all the same, it is held by the lease that step 4 sees.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use super::error::RepositoryError;
use super::fetch::read_slots;
use super::format::FormatError;
use super::format::condemned::{CondemnedList, Sentence};
use super::format::envelope::EnvelopeKind;
use super::format::node::{ChunkEntry, StoredNode};
use super::format::pack::{PACK_HEADER_BYTES, PackHeader, PackSlot, encode_footer, parse_pack, slot_bytes};
use super::format::point::Tree;
use super::format::verdict::VerdictKind;
use super::ids::{LeaseId, PackId, PointId, RecordId};
use super::leases::{CLOCK_SKEW, LEASE_DURATION, ListedLease};
use super::live::{PackSlots, SlotSet};
use super::points::PointListing;
use super::tree::{TreeVisitor, walk};
use super::{Repository, list_all, names};
use crate::base::clock::Timestamp;

/// A pack is rewritten once that frees more than this share of it, in percent. Above it, space wins over traffic.
const REWRITE_ABOVE_PERCENT: u64 = 30;

/// Points are listed again this often while others forget them.
const MAX_LISTINGS: usize = 8;

/// How a collection shall run.
#[derive(Debug, Clone, Copy)]
pub struct CollectOptions {
    /// Only say what would happen.
    pub dry_run: bool,
    /// How long the condemned wait.
    pub wait: Duration,
}

/// The shortest safe wait: a writer that lost its lease has noticed by then, whatever its clock says.
pub const SAFE_WAIT: Duration = Duration::from_secs(LEASE_DURATION.as_secs() + CLOCK_SKEW.as_secs());

/// Packs counted and weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many.
    pub packs: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes += bytes;
    }
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CollectReport {
    /// All packs.
    pub total: Tally,
    /// Packs deleted.
    pub deleted: Tally,
    /// Packs rewritten; `bytes` is what that freed.
    pub rewritten: Tally,
    /// Packs condemned now or earlier that still wait; `bytes` is what they will free.
    pub waiting: Tally,
    /// When the first of them may go.
    pub next: Option<Timestamp>,
    /// Packs spared because a running writer made them.
    pub leased: Tally,
    /// Lapsed leases removed.
    pub leases_removed: u64,
}

/// A pack in the listing.
struct Candidate {
    id: PackId,
    size: u64,
    sentence: Sentence,
    gain: u64,
}

impl Repository {
    /// Condemns what is not needed, and deletes what was condemned long enough ago.
    pub fn collect(&self, options: CollectOptions) -> Result<CollectReport, RepositoryError> {
        let packs = self.list_packs()?;
        let mut leases = self.leases()?;
        let listing = self.settled_points()?;
        leases.extend(self.leases()?);
        if options.wait < SAFE_WAIT
            && let Some(alive) = leases.iter().find(|lease| lease.may_commit() && !self.has_lapsed(lease))
        {
            return Err(RepositoryError::Busy { what: format!("a writer holds lease {}", alive.id) });
        }
        let live = self.mark(&listing, &leases)?;
        let mut report = CollectReport::default();
        packs.values().for_each(|(size, _)| report.total.add(*size));
        let candidates = self.judge(&packs, &live, &leases, &mut report)?;
        self.carry_out(candidates, &live, options, &mut report)?;
        if !options.dry_run {
            self.drop_old_verdicts(&listing)?;
            report.leases_removed = self.drop_lapsed_leases(&leases)?;
        }
        Ok(report)
    }

    fn list_packs(&self) -> Result<BTreeMap<PackId, (u64, Timestamp)>, RepositoryError> {
        let mut packs = BTreeMap::new();
        self.store.list(names::PACKS, &mut |entry| {
            if let Some(id) = names::parse_pack(&entry.key) {
                packs.insert(id, (entry.size, entry.modified));
            }
            ControlFlow::Continue(())
        })?;
        Ok(packs)
    }

    /// A listing all of whose points were still there when they were read. One that vanished in between may have a successor that
    /// came after the listing, and shares what nobody else holds.
    fn settled_points(&self) -> Result<PointListing, RepositoryError> {
        for _ in 0..MAX_LISTINGS {
            let listing = self.points()?;
            if listing.vanished == 0 {
                return Ok(listing);
            }
        }
        Err(RepositoryError::Busy { what: "points are being forgotten while their chunks would be collected".to_owned() })
    }

    /// Everything that points and leases reach. Fails if any of it cannot be read: what is below might be needed.
    fn mark(&self, listing: &PointListing, leases: &[ListedLease]) -> Result<SlotSet, RepositoryError> {
        if let Some((key, error)) = listing.damaged.first() {
            return Err(RepositoryError::damaged(key, format!("nothing can be collected while it is unreadable: {error}")));
        }
        let mut live = MarkVisitor { live: SlotSet::default(), may_lose: false };
        let mut fetcher = self.fetcher();
        let mut mark = |tree: &Tree| walk(tree, &mut fetcher, &self.ring, &mut live);
        for point in &listing.points {
            mark(&point.point.tree)?;
        }
        for listed in leases {
            match &listed.lease {
                Ok(lease) => lease.trees().try_for_each(&mut mark)?,
                Err(error) => {
                    let object = names::lease(listed.id);
                    return Err(RepositoryError::damaged(
                        object,
                        format!("nothing can be collected while it is unreadable: {error}"),
                    ));
                }
            }
        }
        // Volumes first: what they reach is marked whatever is lost of a catalog.
        live.may_lose = true;
        let held = leases.iter().filter_map(|listed| listed.lease.as_ref().ok()?.basis_catalog);
        let named = listing.points.iter().filter_map(|point| point.point.catalog.map(|catalog| catalog.tree));
        for catalog in named.chain(held) {
            walk(&catalog, &mut fetcher, &self.ring, &mut live)?;
        }
        Ok(live.live)
    }

    /// Packs that are dead, or dead enough, and not a running writer's.
    fn judge(
        &self,
        packs: &BTreeMap<PackId, (u64, Timestamp)>,
        live: &SlotSet,
        leases: &[ListedLease],
        report: &mut CollectReport,
    ) -> Result<Vec<Candidate>, RepositoryError> {
        let leased: HashSet<LeaseId> = leases.iter().map(|lease| lease.id).collect();
        let mut candidates = Vec::new();
        for (id, (size, modified)) in packs {
            let (sentence, gain) = match live.pack(id) {
                None => (Sentence::Delete, *size),
                Some(needed) => match self.freed_by_rewrite(*id, *size, needed)? {
                    Some(freed) => (Sentence::Rewrite, freed),
                    None => continue,
                },
            };
            if self.belongs_to_writer(*id, *modified, &leased)? {
                report.leased.add(*size);
                continue;
            }
            candidates.push(Candidate { id: *id, size: *size, sentence, gain });
        }
        Ok(candidates)
    }

    /// What a rewrite would free, if that is worth the traffic. Header and table stay, so that only the pack's own table tells; it
    /// is not asked where even all bytes that nobody needs would be too few.
    fn freed_by_rewrite(&self, id: PackId, size: u64, needed: &PackSlots) -> Result<Option<u64>, RepositoryError> {
        let is_worth_it = |freed: u64| freed * 100 > size * REWRITE_ABOVE_PERCENT;
        if !is_worth_it(size.saturating_sub(needed.bytes)) {
            return Ok(None);
        }
        let slots = match read_slots(self.store.as_ref(), id) {
            Ok(slots) => slots,
            // A pack that cannot be read is left as it is, for `check` to report.
            Err(error) if error.is_damage() => return Ok(None),
            Err(error) => return Err(error),
        };
        let unneeded = (0u32..).zip(&slots).filter(|(number, _)| !needed.contains(*number));
        let freed = unneeded.map(|(_, slot)| u64::from(slot.stored)).sum();
        Ok(is_worth_it(freed).then_some(freed))
    }

    /// True when the pack's header names a lease that exists. A pack without a readable header is spared while it is young.
    fn belongs_to_writer(&self, id: PackId, modified: Timestamp, leased: &HashSet<LeaseId>) -> Result<bool, RepositoryError> {
        let bytes = match self.store.get_range(&names::pack(id), 0..PACK_HEADER_BYTES as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        Ok(match PackHeader::parse(&bytes) {
            Ok(header) => leased.contains(&header.lease),
            Err(_) => self.environment.clock.now().since(modified) < SAFE_WAIT,
        })
    }

    fn carry_out(
        &self,
        candidates: Vec<Candidate>,
        live: &SlotSet,
        options: CollectOptions,
        report: &mut CollectReport,
    ) -> Result<(), RepositoryError> {
        let now = self.environment.clock.now();
        let lists = self.condemned_lists()?;
        let mut condemned_since: HashMap<(PackId, Sentence), Timestamp> = HashMap::new();
        for (_, list) in &lists {
            for (pack, sentence) in &list.packs {
                let since = condemned_since.entry((*pack, *sentence)).or_insert(list.made);
                *since = (*since).min(list.made);
            }
        }
        let mut new = Vec::new();
        for candidate in candidates {
            let since = condemned_since.get(&(candidate.id, candidate.sentence)).copied();
            let due = since.unwrap_or(now).plus(options.wait);
            let is_due = options.wait.is_zero() || (since.is_some() && due <= now);
            match (is_due, candidate.sentence) {
                (true, Sentence::Delete) => {
                    report.deleted.add(candidate.size);
                    if !options.dry_run {
                        self.store.delete(&names::pack(candidate.id))?;
                    }
                }
                (true, Sentence::Rewrite) => {
                    if options.dry_run || self.rewrite(candidate.id, live)? {
                        report.rewritten.add(candidate.gain);
                    }
                }
                (false, _) => {
                    report.waiting.add(candidate.gain);
                    report.next = Some(report.next.map_or(due, |next| next.min(due)));
                    if since.is_none() {
                        new.push((candidate.id, candidate.sentence));
                    }
                }
            }
        }
        if options.dry_run {
            return Ok(());
        }
        if !new.is_empty() {
            self.condemn(CondemnedList { made: now, packs: new })?;
        }
        // A list whose time has come has been carried out, or its packs turned out to be needed.
        for (id, _) in lists.iter().filter(|(_, list)| options.wait.is_zero() || list.made.plus(options.wait) <= now) {
            self.store.delete(&names::condemned(*id))?;
        }
        Ok(())
    }

    fn condemn(&self, list: CondemnedList) -> Result<(), RepositoryError> {
        let key = names::condemned(RecordId::random(self.environment.entropy.as_ref())?);
        let object = self.seal(EnvelopeKind::Condemned, &key, list.encode())?;
        Ok(self.store.put(&key, object)?)
    }

    pub(super) fn condemned_lists(&self) -> Result<Vec<(RecordId, CondemnedList)>, RepositoryError> {
        let mut lists = Vec::new();
        for entry in list_all(self.store.as_ref(), names::CONDEMNED)? {
            let Some(id) = RecordId::parse(entry.key.file_name()) else { continue };
            let fields = match self.open_sealed(EnvelopeKind::Condemned, &entry.key) {
                Ok(fields) => fields,
                Err(RepositoryError::Store(error)) if error.is_not_found() => continue,
                // An unreadable list condemns nobody; its packs are condemned again. `check` reports it.
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            if let Ok(list) = CondemnedList::parse(&fields) {
                lists.push((id, list));
            }
        }
        Ok(lists)
    }

    /// Puts a pack again under its own name without the slots that nobody needs. No reference changes: slots keep their numbers.
    ///
    /// A damaged pack is left as it is, and the answer is no: what is still good in it must not get lost by moving it.
    fn rewrite(&self, id: PackId, live: &SlotSet) -> Result<bool, RepositoryError> {
        let key = names::pack(id);
        let old = match self.store.get(&key) {
            Ok(old) => old,
            // Another collection was quicker.
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match without_dead_slots(&old, live.pack(&id)) {
            Ok(new) => self.store.put(&key, Bytes::from(new))?,
            Err(error) => {
                tracing::warn!(%key, %error, "this pack is damaged, and not rewritten; 'icecore check' tells what it affects");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets what was said of points that are gone, but for the notes that a living point's chain needs.
    fn drop_old_verdicts(&self, listing: &PointListing) -> Result<(), RepositoryError> {
        let now = self.environment.clock.now();
        let mut old: Vec<_> =
            self.verdicts()?.into_iter().flat_map(|(point, said)| said.into_iter().map(move |v| (point, v))).collect();
        let wanted = WantedVerdicts::new(listing);
        old.retain(|(point, (_, verdict))| now.since(verdict.made) > SAFE_WAIT && !wanted.contains(*point, verdict.kind));
        if old.is_empty() {
            return Ok(());
        }
        // Points may have come since the listing was made, on top of one that was forgotten afterwards.
        let wanted = WantedVerdicts::new(&self.points()?);
        old.retain(|(point, (_, verdict))| !wanted.contains(*point, verdict.kind));
        old.iter().try_for_each(|(point, (id, _))| self.store.delete(&names::verdict(*point, *id)).map(|_| ()))?;
        Ok(())
    }

    fn drop_lapsed_leases(&self, leases: &[ListedLease]) -> Result<u64, RepositoryError> {
        let lapsed: BTreeSet<LeaseId> = leases.iter().filter(|l| self.has_lapsed(l)).map(|l| l.id).collect();
        for id in &lapsed {
            self.store.delete(&names::lease(*id))?;
        }
        Ok(lapsed.len() as u64)
    }

    fn has_lapsed(&self, listed: &ListedLease) -> bool {
        let now = self.environment.clock.now();
        listed.lease.as_ref().is_ok_and(|lease| now > lease.expires.plus(CLOCK_SKEW))
    }
}

/// What is said of points that are there, and the notes that the chains of those points need.
struct WantedVerdicts {
    present: HashSet<PointId>,
    built_on: HashSet<PointId>,
}

impl WantedVerdicts {
    fn new(listing: &PointListing) -> Self {
        Self {
            present: listing.points.iter().map(|listed| listed.id).collect(),
            built_on: listing.points.iter().filter_map(|listed| listed.point.previous.map(|previous| previous.id)).collect(),
        }
    }

    fn contains(&self, point: PointId, kind: VerdictKind) -> bool {
        let is_note = matches!(kind, VerdictKind::Forgotten { .. });
        self.present.contains(&point) || (is_note && self.built_on.contains(&point))
    }
}

/// A pack's bytes without the slots that are not `needed`.
fn without_dead_slots(old: &[u8], needed: Option<&PackSlots>) -> Result<Vec<u8>, FormatError> {
    let (header, slots) = parse_pack(old)?;
    let mut new = header.encode();
    let mut table = Vec::with_capacity(slots.len());
    for (number, slot) in (0u32..).zip(&slots) {
        if !slot.is_live() || !needed.is_some_and(|needed| needed.contains(number)) {
            table.push(PackSlot::default());
            continue;
        }
        let bytes = slot_bytes(old, slot)?;
        table.push(PackSlot { offset: u32::try_from(new.len()).unwrap_or(u32::MAX), ..*slot });
        new.extend_from_slice(bytes);
    }
    new.extend_from_slice(&encode_footer(&table));
    Ok(new)
}

/// Collects every frame that a tree reaches.
struct MarkVisitor {
    live: SlotSet,
    /// What is lost can be made again from the volume, and must not keep a repository from being collected.
    may_lose: bool,
}

impl TreeVisitor for MarkVisitor {
    fn enter(&mut self, node: &StoredNode, _level: u8, _first_chunk: u64) -> Result<bool, RepositoryError> {
        Ok(self.live.insert(&node.frame))
    }

    fn leaf(&mut self, _first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        entries.iter().filter_map(ChunkEntry::stored).for_each(|chunk| {
            self.live.insert(&chunk.frame);
        });
        Ok(())
    }

    fn lost(&mut self, _node: &StoredNode, _first_chunk: u64, _count: u64, error: RepositoryError) -> Result<(), RepositoryError> {
        if self.may_lose {
            return Ok(());
        }
        Err(RepositoryError::damaged(
            "the block tree",
            format!(
                "nothing can be collected while part of it is unreadable ({error}); forget the points that 'icecore check' names"
            ),
        ))
    }
}

//! The audit against a map that lies: how often it notices, beside how often it should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use icecore::base::clock::Timestamp;
use icecore::base::entropy::Entropy;
use icecore::job::backup::{AuditPolicy, BackupRequest, audit_sample_chunks};
use icecore::store::Store;
use icecore::store::memory::Memory;
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::testkit::trial::{self, environment};
use icecore::testkit::volume::MemoryVolume;
use icecore::tracking::{ChangeList, PlanPolicy};

const CHUNK: usize = 4096;
const CHUNKS: u64 = 512;
const TRIALS: u32 = 100;
/// One wrong chunk in ten is to be noticed 99 times in a hundred: 44 chunks are read.
const POLICY: AuditPolicy = AuditPolicy { wrong_share: 0.1, detection: 0.99 };

/// How probable it is that `drawn` of `CHUNKS` chunks, all different, hold at least one of `wrong`.
fn expected(wrong: u64, drawn: u64) -> f64 {
    1.0 - (0..wrong).map(|n| (CHUNKS - drawn - n) as f64 / (CHUNKS - n) as f64).product::<f64>()
}

/// How many of the trials end in an incident, when `wrong` chunks change and nobody says so.
fn noticed(wrong: u64) -> u32 {
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
    let repository = trial::init(&store, environment(&clock, wrong)).unwrap();
    let dice = SeededEntropy::new(wrong ^ 0xa0d17);
    let volume = MemoryVolume::new((0..CHUNKS as usize * CHUNK).map(|at| (at / CHUNK) as u8 | 1).collect());
    let belief = PlanPolicy { compare_every: 0, trusted_again: Vec::new() };
    let mut count = 0;
    for trial in 0..TRIALS {
        let request = BackupRequest {
            chunk_bytes: Some(CHUNK as u32),
            audit: POLICY,
            belief: belief.clone(),
            ..trial::request(&repository, &format!("v{trial}"))
        };
        trial::run(&repository, &request, &volume).unwrap();
        clock.advance(Duration::from_secs(1));
        let mut lies = BTreeSet::new();
        while (lies.len() as u64) < wrong {
            lies.insert((dice.u64().unwrap() % CHUNKS) as usize * CHUNK);
        }
        let flip = || volume.change(|bytes| lies.iter().for_each(|at| bytes[*at] ^= 0x80));
        flip();
        let report = trial::run_told(&repository, &request, Some(ChangeList::default()), &volume).unwrap();
        flip();
        count += u32::from(report.point.point.incident.is_some());
    }
    count
}

#[test]
fn a_lying_map_is_noticed_as_often_as_the_formula_says() {
    let drawn = audit_sample_chunks(POLICY);
    assert_eq!(drawn, 44);
    for wrong in [1, 2, 5, 10, 20, 51] {
        let (found, formula) = (f64::from(noticed(wrong)) / f64::from(TRIALS), expected(wrong, drawn));
        println!(
            "{wrong} of {CHUNKS} chunks wrong: noticed in {:.1} % of {TRIALS} trials, {:.1} % by the formula",
            found * 100.0,
            formula * 100.0
        );
        // Four standard deviations: one run in 16,000 would fail by chance, and the seeds are fixed.
        let deviation = (formula * (1.0 - formula) / f64::from(TRIALS)).sqrt();
        assert!((found - formula).abs() <= 4.0 * deviation + 1e-9, "{wrong} wrong: {found} is not {formula}");
        // What the option promises: a tenth is wrong, and 99 times in a hundred somebody notices.
        assert!(wrong < CHUNKS / 10 || formula >= POLICY.detection, "{wrong} wrong: {formula}");
    }
}

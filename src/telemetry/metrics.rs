//! Every metric of icecore: its name, its labels, its unit, and what it is set from.
//!
//! Names and units follow <https://prometheus.io/docs/practices/naming/>. Labels have few values each, except `volume`, which has as
//! many as there are volumes; words that somebody wrote freely, such as reasons, are in points and logs.

use std::time::Duration;

use prometheus::{GaugeVec, Opts, Registry, TextEncoder};
use thiserror::Error;

use crate::base::clock::Timestamp;
use crate::repository::format::changes::{ChangeSource, Rung};
use crate::repository::format::point::Point;
use crate::tracking::{Objection, PassedOver};

/// The metrics could not be declared or written down.
#[derive(Debug, Error)]
#[error("the metrics cannot be told")]
pub struct MetricsError(#[from] prometheus::Error);

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    completed: GaugeVec,
    duration: GaugeVec,
    size: GaugeVec,
    read: GaugeVec,
    stored: GaugeVec,
    unreadable: GaugeVec,
    change_source: GaugeVec,
    passed_over: GaugeVec,
    sampled: GaugeVec,
    mismatch: GaugeVec,
    distrusted: GaugeVec,
    frozen: GaugeVec,
}

/// What is told of a backup.
#[derive(Debug, Clone, Copy)]
pub struct BackupFacts<'a> {
    /// The new point.
    pub point: &'a Point,
    /// When it was complete.
    pub completed: Timestamp,
    /// Whose word about changes was not taken, and why.
    pub passed_over: &'a [PassedOver],
    /// For how long the volume was frozen, if it was.
    pub frozen: Option<Duration>,
}

const VOLUME: &[&str] = &["volume"];
const BY_SOURCE: &[&str] = &["volume", "source"];
const BY_REASON: &[&str] = &["volume", "source", "reason"];

impl Metrics {
    /// Declares all of them.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let gauge = |name: &str, labels: &[&str], help: &str| {
            let gauge = GaugeVec::new(Opts::new(format!("icecore_backup_{name}"), help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            completed: gauge("last_completion_timestamp_seconds", VOLUME, "When the newest recovery point was complete.")?,
            duration: gauge("duration_seconds", VOLUME, "How long the last backup took.")?,
            size: gauge("volume_bytes", VOLUME, "Size of the volume at the last backup.")?,
            read: gauge("read_bytes", VOLUME, "What the last backup read from the volume.")?,
            stored: gauge("stored_bytes", VOLUME, "What the last backup added to the repository.")?,
            unreadable: gauge("unreadable_bytes", VOLUME, "What the last backup could not read of the volume.")?,
            change_source: gauge(
                "change_source",
                BY_SOURCE,
                "1 for how the last backup knew what had changed: full, compare, or whose word it took.",
            )?,
            passed_over: gauge(
                "change_source_passed_over",
                BY_REASON,
                "1 for whose word about changes the last backup did not take, and why.",
            )?,
            sampled: gauge(
                "audit_sampled_chunks",
                VOLUME,
                "Chunks said to be unchanged that the last backup read to see whether they were.",
            )?,
            mismatch: gauge(
                "audit_mismatch",
                VOLUME,
                "1 if the last backup caught somebody who said that nothing had changed where something had.",
            )?,
            distrusted: gauge(
                "change_source_distrusted",
                BY_SOURCE,
                "1 for whose word is not taken for this volume until an operator says so (--trust).",
            )?,
            frozen: gauge("frozen_seconds", VOLUME, "How long writers waited because the last backup froze the volume.")?,
            registry,
        })
    }

    /// Tells of a backup; what was told of the volume before is forgotten.
    pub fn tell_backup(&self, facts: &BackupFacts<'_>) {
        let BackupFacts { point, completed, passed_over, frozen } = *facts;
        let set = |gauge: &GaugeVec, value: f64| gauge.with_label_values(&[&point.volume]).set(value);
        let done = point.statistics;
        set(&self.completed, completed.0 as f64 / 1000.0);
        set(&self.duration, done.duration_ms as f64 / 1000.0);
        set(&self.size, point.content_bytes() as f64);
        set(&self.read, done.read_bytes as f64);
        set(&self.stored, done.data_stored_bytes.saturating_add(done.tree_stored_bytes) as f64);
        set(&self.unreadable, point.unreadable.bytes() as f64);
        set(&self.mismatch, flag(point.incident.is_some()));
        set(&self.frozen, frozen.unwrap_or_default().as_secs_f64());
        let sampled = match point.changes.source {
            ChangeSource::Told { sampled_chunks, .. } => sampled_chunks,
            ChangeSource::Full | ChangeSource::Compare => 0,
        };
        set(&self.sampled, sampled as f64);
        self.tell_sources(point, passed_over);
    }

    /// Every label that there can be is told, as 0 or 1: one that went missing would keep its last value in the eyes of an alert.
    fn tell_sources(&self, point: &Point, passed_over: &[PassedOver]) {
        let volume = point.volume.as_str();
        let source = match &point.changes.source {
            ChangeSource::Full => "full".to_owned(),
            ChangeSource::Compare => "compare".to_owned(),
            ChangeSource::Told { by, .. } => by.to_string(),
        };
        let rungs = Rung::ALL.map(|rung| rung.to_string());
        for name in ["full", "compare"].into_iter().chain(rungs.iter().map(String::as_str)) {
            self.change_source.with_label_values(&[volume, name]).set(flag(name == source));
        }
        for (rung, name) in Rung::ALL.into_iter().zip(&rungs) {
            self.distrusted.with_label_values(&[volume, name]).set(flag(point.changes.distrusted.contains(&rung)));
            for objection in Objection::ALL {
                let is = passed_over.iter().any(|word| word.by == rung && word.objection == objection);
                self.passed_over.with_label_values(&[volume, name, &objection.to_string()]).set(flag(is));
            }
        }
    }

    /// All of them in the text format of Prometheus.
    pub fn text(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

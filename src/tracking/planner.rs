//! Whose word counts: the best source whose answer is provably whole for this pair of points, and otherwise nobody's.
//!
//! ```text
//!   CSI driver ► kernel epoch ► thin pool ► list ► everything is read and compared
//!        └─ caught to be wrong before? counts from the very cut of the last point? knows it?
//! ```
//! There is no way past the last rung: whatever is not known is read. When a full comparison is due, the best word is asked for all the
//! same, so that the comparison can hold it to what it finds.

use std::fmt;

use super::source::{Answer, ChangeSource, SourceError};
use crate::base::extent::ExtentSet;
use crate::repository::format::changes::{ChangeRecord, Rung, Word};

/// How much is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanPolicy {
    /// Every so many points everything is read and compared, whoever says what; 0 means never.
    pub compare_every: u32,
    /// Whose word is taken again although it was caught to be wrong.
    pub trusted_again: Vec<Rung>,
}

impl Default for PlanPolicy {
    fn default() -> Self {
        Self { compare_every: 30, trusted_again: Vec::new() }
    }
}

/// A word that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whose it is.
    pub by: Rung,
    /// Whatever changed lies in these ranges.
    pub ranges: ExtentSet,
    /// Why it is believed.
    pub proof: String,
}

/// Why a word is not taken, as few kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    /// Everything is to be compared this time.
    CompareDue,
    /// It was caught to be wrong before.
    Distrusted,
    /// The last point does not say from which cut to count.
    Nameless,
    /// It counts from another cut than the last point's.
    OtherCut,
    /// It does not know.
    Unknown,
    /// It was caught to be wrong now.
    Caught,
}

impl Objection {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::CompareDue, Self::Distrusted, Self::Nameless, Self::OtherCut, Self::Unknown, Self::Caught];
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CompareDue => "compare_due",
            Self::Distrusted => "distrusted",
            Self::Nameless => "nameless_cut",
            Self::OtherCut => "other_cut",
            Self::Unknown => "unknown",
            Self::Caught => "caught_wrong",
        })
    }
}

/// A word that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Whose it is.
    pub by: Rung,
    /// Why, as a kind.
    pub objection: Objection,
    /// Why, in words.
    pub reason: String,
}

impl PassedOver {
    fn new(by: Rung, objection: Objection, reason: impl Into<String>) -> Self {
        Self { by, objection, reason: reason.into() }
    }
}

/// Whose word is taken, and what the point will keep of all that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangePlan {
    /// The word that is taken; without one everything is read.
    pub told: Option<Told>,
    /// The word that would have been taken if it were not time to compare everything; it is held to what the comparison finds.
    pub examined: Option<Told>,
    /// Whose is not taken, and why.
    pub passed_over: Vec<PassedOver>,
    /// What this cut is called.
    pub cut_names: Vec<Word>,
}

/// Decides. `basis` is the record of the point that the new one builds on; without one nothing can have changed since.
pub fn plan(
    sources: &mut [Box<dyn ChangeSource + '_>],
    basis: Option<&ChangeRecord>,
    policy: &PlanPolicy,
) -> Result<ChangePlan, SourceError> {
    sources.sort_by_key(|source| rank(source.rung()));
    let mut plan = ChangePlan::default();
    for source in sources.iter() {
        plan.cut_names.extend(source.cut_name().map(|name| Word { rung: source.rung(), text: name.to_owned() }));
    }
    let Some(basis) = basis else { return Ok(plan) };
    for source in sources.iter_mut() {
        let by = source.rung();
        if let Some(passed_over) = objection(source.as_ref(), basis, policy) {
            plan.passed_over.push(passed_over);
            continue;
        }
        match (source.changes()?, compare_is_due(basis, policy)) {
            (Answer::Exact { ranges, proof }, None) => {
                plan.told = Some(Told { by, ranges, proof });
                return Ok(plan);
            }
            (Answer::Exact { ranges, proof }, Some(reason)) => {
                plan.examined = Some(Told { by, ranges, proof });
                plan.passed_over.push(PassedOver::new(by, Objection::CompareDue, reason));
                return Ok(plan);
            }
            (Answer::Unknown { reason }, _) => plan.passed_over.push(PassedOver::new(by, Objection::Unknown, reason)),
        }
    }
    Ok(plan)
}

/// Why nobody's word is taken this time, if so.
fn compare_is_due(basis: &ChangeRecord, policy: &PlanPolicy) -> Option<String> {
    let (every, last) = (policy.compare_every, basis.told_in_a_row);
    (every > 0 && last.saturating_add(1) >= every)
        .then(|| format!("everything is compared every {every} points, and the last {last} took somebody's word"))
}

/// Best first. A list is the word of somebody who cannot be held to anything.
fn rank(rung: Rung) -> u8 {
    match rung {
        Rung::CsiMetadata => 0,
        Rung::Epoch => 1,
        Rung::ThinMetadata => 2,
        Rung::List => 3,
    }
}

/// Why a source need not be asked.
fn objection(source: &dyn ChangeSource, basis: &ChangeRecord, policy: &PlanPolicy) -> Option<PassedOver> {
    let rung = source.rung();
    let (objection, reason) = if basis.distrusted.contains(&rung) && !policy.trusted_again.contains(&rung) {
        let reason = "it was caught to be wrong for this volume; say with --trust that it is to be believed again";
        (Objection::Distrusted, reason)
    } else {
        match (source.counts_from(), basis.cut_name(rung)) {
            (Some(_), None) => (Objection::Nameless, "the last point does not say what its cut was called"),
            (Some(from), Some(last)) if from != last => {
                (Objection::OtherCut, "it counts from another cut than that of the last point")
            }
            _ => return None,
        }
    };
    Some(PassedOver::new(rung, objection, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::extent::Extent;
    use crate::repository::format::changes::ChangeSource as Known;

    struct Somebody {
        rung: Rung,
        from: Option<&'static str>,
        answer: Result<Answer, SourceError>,
        asked: bool,
    }

    impl ChangeSource for Somebody {
        fn rung(&self) -> Rung {
            self.rung
        }
        fn counts_from(&self) -> Option<&str> {
            self.from
        }
        fn cut_name(&self) -> Option<&str> {
            self.from.map(|_| "this")
        }
        fn changes(&mut self) -> Result<Answer, SourceError> {
            assert!(!self.asked, "asked twice");
            self.asked = true;
            self.answer.clone()
        }
    }

    fn exact(rung: Rung, from: Option<&'static str>) -> Box<dyn ChangeSource> {
        let answer = Ok(Answer::Exact { ranges: Extent::new(0, rung as u64 + 1).into(), proof: "sure".to_owned() });
        Box::new(Somebody { rung, from, answer, asked: false })
    }

    fn unknown(rung: Rung) -> Box<dyn ChangeSource> {
        let answer = Ok(Answer::Unknown { reason: "gone".to_owned() });
        Box::new(Somebody { rung, from: Some("last"), answer, asked: false })
    }

    fn basis() -> ChangeRecord {
        let cut_names = Rung::ALL.into_iter().map(|rung| Word { rung, text: "last".to_owned() }).collect();
        ChangeRecord { cut_names, ..ChangeRecord::of(Known::Full) }
    }

    fn planned(mut sources: Vec<Box<dyn ChangeSource>>, basis: Option<&ChangeRecord>, policy: &PlanPolicy) -> ChangePlan {
        plan(&mut sources, basis, policy).unwrap()
    }

    fn reasons(plan: &ChangePlan) -> Vec<(Rung, &str)> {
        plan.passed_over.iter().map(|passed_over| (passed_over.by, passed_over.reason.as_str())).collect()
    }

    #[test]
    fn the_best_source_that_knows_is_taken_and_nobody_below_is_asked() {
        let sources = vec![
            exact(Rung::List, None),
            exact(Rung::ThinMetadata, Some("last")),
            exact(Rung::Epoch, Some("last")),
            unknown(Rung::CsiMetadata),
        ];
        let plan = planned(sources, Some(&basis()), &PlanPolicy::default());
        let told = plan.told.as_ref().unwrap();
        assert_eq!((told.by, told.ranges.bytes()), (Rung::Epoch, Rung::Epoch as u64 + 1));
        assert_eq!(reasons(&plan), [(Rung::CsiMetadata, "gone")]);
        assert_eq!(plan.cut_names.len(), 3);
    }

    #[test]
    fn a_source_that_counts_from_another_cut_is_passed_over() {
        let sources = || vec![exact(Rung::CsiMetadata, Some("other")), exact(Rung::Epoch, Some("last"))];
        let plan = planned(sources(), Some(&basis()), &PlanPolicy::default());
        assert_eq!(plan.told.as_ref().unwrap().by, Rung::Epoch);
        assert_eq!(reasons(&plan), [(Rung::CsiMetadata, "it counts from another cut than that of the last point")]);
        let nameless = ChangeRecord::of(Known::Full);
        let plan = planned(sources(), Some(&nameless), &PlanPolicy::default());
        assert_eq!((plan.told, plan.passed_over.len()), (None, 2));
    }

    #[test]
    fn who_was_caught_to_be_wrong_is_believed_again_only_on_request() {
        let caught = ChangeRecord { distrusted: vec![Rung::List], ..basis() };
        let plan = planned(vec![exact(Rung::List, None)], Some(&caught), &PlanPolicy::default());
        assert!(plan.told.is_none() && plan.passed_over[0].reason.contains("--trust"), "{plan:?}");
        let again = PlanPolicy { trusted_again: vec![Rung::List], ..PlanPolicy::default() };
        assert!(planned(vec![exact(Rung::List, None)], Some(&caught), &again).told.is_some());
        assert!(planned(vec![exact(Rung::Epoch, Some("last"))], Some(&caught), &PlanPolicy::default()).told.is_some());
    }

    #[test]
    fn every_so_many_points_nobody_is_believed() {
        for (told_in_a_row, compare_every, is_told) in
            [(0, 3, true), (1, 3, true), (2, 3, false), (9, 3, false), (99, 0, true), (0, 1, false)]
        {
            let basis = ChangeRecord { told_in_a_row, ..basis() };
            let policy = PlanPolicy { compare_every, ..PlanPolicy::default() };
            let plan = planned(vec![exact(Rung::Epoch, Some("last"))], Some(&basis), &policy);
            assert_eq!(plan.told.is_some(), is_told, "{told_in_a_row} of {compare_every}");
            assert_eq!(plan.examined.is_some(), !is_told, "who is not believed this time is examined");
        }
    }

    #[test]
    fn a_first_point_has_names_for_its_cut_and_asks_nobody() {
        let plan = planned(vec![exact(Rung::Epoch, Some("last"))], None, &PlanPolicy::default());
        assert_eq!((plan.told, plan.passed_over.len(), plan.cut_names.len()), (None, 0, 1));
    }

    #[test]
    fn a_request_that_has_to_be_changed_ends_the_plan() {
        let refusal = SourceError::Refused("no such snapshot".to_owned());
        let somebody = Somebody { rung: Rung::CsiMetadata, from: None, answer: Err(refusal.clone()), asked: false };
        let mut sources: Vec<Box<dyn ChangeSource>> = vec![Box::new(somebody)];
        assert_eq!(plan(&mut sources, Some(&basis()), &PlanPolicy::default()), Err(refusal));
    }
}

//! The verdict: whether marks are all that changed between two cuts. A pure function; any doubt makes the answer "unknown".

use std::fmt;

use super::layout::{Flags, Regime};
use super::programs::Attachment;
use super::record::Base;
use super::token::ChainToken;
use super::witness::{self, Witness};

/// Why a delta is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// No token was given.
    First,
    /// The tracker has no finished cut to begin from.
    NoBase,
    /// The token names another cut than the tracker's last.
    Token {
        /// What differs.
        what: &'static str,
    },
    /// The machine, the tracker or the disk is another than at the last cut.
    Moved {
        /// What differs.
        what: &'static str,
    },
    /// The disk became smaller, so that its end may hold anything.
    Shrunk {
        /// Its size at the last cut.
        from_bytes: u64,
        /// Its size now.
        to_bytes: u64,
    },
    /// The disk changed its size while the cut was taken.
    Resized,
    /// A program is not attached, or not as it was.
    Detached,
    /// The kernel skipped a program.
    Skipped {
        /// How often.
        times: u64,
    },
    /// The programs raised flags.
    Flagged(Flags),
    /// Writes on their way could not all be carried into the new generation.
    NotCarried,
    /// The kernel counted other writes than the programs.
    Miscounted {
        /// By how many sectors the programs' count moved against the kernel's.
        sectors: i64,
    },
    /// The counts could not be compared.
    Uncounted {
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("no token of an earlier cut was given, so this epoch is the first of its chain"),
            Self::NoBase => f.write_str("the tracker has no earlier cut to go on from"),
            Self::Token { what } => write!(f, "the token is not that of the last cut: {what} differs"),
            Self::Moved { what } => write!(f, "since the last cut {what}"),
            Self::Shrunk { from_bytes, to_bytes } => write!(f, "the disk shrank from {from_bytes} to {to_bytes} bytes"),
            Self::Resized => f.write_str("the disk changed its size while the cut was taken"),
            Self::Detached => f.write_str("a program of the tracker was detached or exchanged, if only for a while"),
            Self::Skipped { times } => write!(f, "the kernel skipped a program of the tracker {times} times"),
            Self::Flagged(flags) => flags.fmt(f),
            Self::NotCarried => f.write_str("there were too many writes on their way to carry them all into the epoch"),
            Self::Miscounted { sectors } => write!(f, "the tracker's count moved by {sectors:+} sectors against the kernel's"),
            Self::Uncounted { why } => write!(f, "the tracker's count could not be held against the kernel's: {why}"),
        }
    }
}

/// What is seen once a cut has been taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// This life, tracker, disk, size and chunks; its generation and digest mean nothing yet.
    pub(super) here: ChainToken,
    pub(super) size_at_begin: u64,
    pub(super) regime: Regime,
    /// Of both generations.
    pub(super) flags: Flags,
    pub(super) programs: Vec<Option<Attachment>>,
    pub(super) witness: Witness,
    pub(super) is_carried: bool,
}

/// Nothing but `Ok` means that the marks since `base` are all.
pub(super) fn judge(presented: Option<&ChainToken>, base: Option<&Base>, seen: &Seen) -> Result<(), Doubt> {
    let presented = presented.ok_or(Doubt::First)?;
    let base = base.ok_or(Doubt::NoBase)?;
    same_cut(presented, &base.token)?;
    same_place(&base.token, &seen.here)?;
    sizes(&base.token, seen)?;
    programs(&base.programs, &seen.programs)?;
    if !seen.flags.is_empty() {
        return Err(Doubt::Flagged(seen.flags));
    }
    if !seen.is_carried {
        return Err(Doubt::NotCarried);
    }
    counts(seen.regime, base.witness, seen.witness)
}

/// The caller's token names the very cut from which the marks were collected.
fn same_cut(presented: &ChainToken, last: &ChainToken) -> Result<(), Doubt> {
    let fields = [
        (presented.boot == last.boot, "the boot of the machine"),
        (presented.tracker == last.tracker, "the tracker"),
        (presented.diskseq == last.diskseq, "the disk"),
        (presented.generation == last.generation, "the epoch"),
        (presented.size_bytes == last.size_bytes, "the size of the disk"),
        (presented.chunk_bytes == last.chunk_bytes, "the size of chunks"),
        (presented.digest == last.digest, "the answer that was given"),
    ];
    first_false(&fields).map_or(Ok(()), |what| Err(Doubt::Token { what }))
}

fn same_place(last: &ChainToken, here: &ChainToken) -> Result<(), Doubt> {
    let fields = [
        (last.boot == here.boot, "the machine was booted"),
        (last.tracker == here.tracker, "the tracker was attached anew"),
        (last.diskseq == here.diskseq, "the disk became another"),
        (last.chunk_bytes == here.chunk_bytes, "the size of chunks was changed"),
    ];
    first_false(&fields).map_or(Ok(()), |what| Err(Doubt::Moved { what }))
}

fn first_false(fields: &[(bool, &'static str)]) -> Option<&'static str> {
    fields.iter().find(|(holds, _)| !holds).map(|(_, what)| *what)
}

fn sizes(last: &ChainToken, seen: &Seen) -> Result<(), Doubt> {
    let now = seen.here.size_bytes;
    if now < last.size_bytes {
        return Err(Doubt::Shrunk { from_bytes: last.size_bytes, to_bytes: now });
    }
    if now == seen.size_at_begin { Ok(()) } else { Err(Doubt::Resized) }
}

fn programs(last: &[Option<Attachment>], now: &[Option<Attachment>]) -> Result<(), Doubt> {
    if last.is_empty() || last.len() != now.len() {
        return Err(Doubt::Detached);
    }
    let mut times = 0;
    for (last, now) in last.iter().zip(now) {
        let (Some(last), Some(now)) = (last, now) else { return Err(Doubt::Detached) };
        if (last.link, last.program, last.tag) != (now.link, now.program, now.tag) {
            return Err(Doubt::Detached);
        }
        times += now.misses.abs_diff(last.misses);
    }
    if times == 0 { Ok(()) } else { Err(Doubt::Skipped { times }) }
}

fn counts(regime: Regime, last: Witness, now: Witness) -> Result<(), Doubt> {
    match (last, now) {
        _ if witness::holds(regime, last, now) => Ok(()),
        (Witness::Ahead { completed: last, .. }, Witness::Ahead { completed: now, .. }) => {
            Err(Doubt::Miscounted { sectors: now.wrapping_sub(last) })
        }
        (Witness::Silent, _) | (_, Witness::Silent) => Err(Doubt::Uncounted { why: "the kernel does not count (queue/iostats)" }),
        (Witness::Busy, _) | (_, Witness::Busy) => Err(Doubt::Uncounted { why: "the disk was never quiet for a moment" }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::sample;
    use super::*;

    fn program(link: u32) -> Option<Attachment> {
        Some(Attachment { link, program: 10 + link, tag: [7; 8], misses: 3 })
    }

    fn base() -> Base {
        Base { token: sample(), programs: vec![program(1), program(2)], witness: Witness::Ahead { completed: 9, issued: 9 } }
    }

    fn seen() -> Seen {
        Seen {
            here: ChainToken { generation: 0, digest: [0; 32], ..sample() },
            size_at_begin: sample().size_bytes,
            regime: Regime::Requests,
            flags: Flags::default(),
            programs: base().programs,
            witness: Witness::Ahead { completed: 9, issued: 9 },
            is_carried: true,
        }
    }

    /// Each field of a token changed.
    fn changed() -> Vec<ChainToken> {
        let token = sample();
        vec![
            ChainToken { boot: [9; 16], ..token },
            ChainToken { tracker: [9; 16], ..token },
            ChainToken { diskseq: 9, ..token },
            ChainToken { generation: 9, ..token },
            ChainToken { size_bytes: 9, ..token },
            ChainToken { chunk_bytes: 9, ..token },
            ChainToken { digest: [9; 32], ..token },
        ]
    }

    #[test]
    fn only_when_everything_holds_is_a_delta_known() {
        assert_eq!(judge(Some(&sample()), Some(&base()), &seen()), Ok(()));
        assert_eq!(judge(None, Some(&base()), &seen()), Err(Doubt::First));
        assert_eq!(judge(Some(&sample()), None, &seen()), Err(Doubt::NoBase));
    }

    #[test]
    fn a_token_with_any_field_changed_is_refused() {
        for token in changed() {
            let verdict = judge(Some(&token), Some(&base()), &seen());
            assert!(matches!(verdict, Err(Doubt::Token { .. })), "{token:?}: {verdict:?}");
        }
    }

    #[test]
    fn a_base_that_is_of_another_place_is_refused_although_the_token_fits_it() {
        for token in [changed()[0], changed()[1], changed()[2], changed()[5]] {
            let verdict = judge(Some(&token), Some(&Base { token, ..base() }), &seen());
            assert!(matches!(verdict, Err(Doubt::Moved { .. })), "{token:?}: {verdict:?}");
        }
    }

    #[test]
    fn whatever_is_seen_to_be_wrong_makes_the_delta_unknown() {
        let size = sample().size_bytes;
        let at = |size_bytes| ChainToken { size_bytes, ..seen().here };
        let only = |first: Attachment| vec![Some(first), program(2)];
        let first = Attachment { link: 1, program: 11, tag: [7; 8], misses: 3 };
        for (wrong, expected) in [
            (Seen { here: at(size - 512), size_at_begin: size - 512, ..seen() }, "shrank"),
            (Seen { size_at_begin: size + 512, ..seen() }, "while the cut"),
            (Seen { here: at(size + 512), ..seen() }, "while the cut"),
            (Seen { programs: vec![None, program(2)], ..seen() }, "detached"),
            (Seen { programs: vec![program(1)], ..seen() }, "detached"),
            (Seen { programs: only(Attachment { link: 5, ..first }), ..seen() }, "detached"),
            (Seen { programs: only(Attachment { program: 5, ..first }), ..seen() }, "detached"),
            (Seen { programs: only(Attachment { tag: [5; 8], ..first }), ..seen() }, "detached"),
            (Seen { programs: only(Attachment { misses: 4, ..first }), ..seen() }, "skipped"),
            (Seen { programs: only(Attachment { misses: 2, ..first }), ..seen() }, "skipped"),
            (Seen { flags: Flags::HEALED, ..seen() }, "when it was over"),
            (Seen { flags: Flags(1 << 40), ..seen() }, "does not know"),
            (Seen { is_carried: false, ..seen() }, "on their way"),
            (Seen { witness: Witness::Ahead { completed: 8, issued: 8 }, ..seen() }, "-1 sectors"),
            (Seen { witness: Witness::Busy, ..seen() }, "never quiet"),
            (Seen { witness: Witness::Silent, ..seen() }, "does not count"),
        ] {
            let doubt = judge(Some(&sample()), Some(&base()), &wrong).expect_err(expected);
            assert!(doubt.to_string().contains(expected), "{doubt} for {wrong:?}");
        }
    }

    #[test]
    fn a_base_without_programs_proves_nothing() {
        let nothing = Base { programs: Vec::new(), ..base() };
        assert_eq!(judge(Some(&sample()), Some(&nothing), &Seen { programs: Vec::new(), ..seen() }), Err(Doubt::Detached));
        let missing = Base { programs: vec![None, None], ..base() };
        assert_eq!(judge(Some(&sample()), Some(&missing), &Seen { programs: vec![None, None], ..seen() }), Err(Doubt::Detached));
    }

    #[test]
    fn a_disk_that_grew_before_the_epoch_began_is_no_doubt() {
        let grown = sample().size_bytes + (1 << 20);
        let seen = Seen { here: ChainToken { size_bytes: grown, ..seen().here }, size_at_begin: grown, ..seen() };
        assert_eq!(judge(Some(&sample()), Some(&base()), &seen), Ok(()));
    }
}

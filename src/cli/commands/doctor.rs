//! Doctor: what this machine, a source and a repository allow, and what to do about what they do not.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::text;

mod machine;
mod repository;
mod source;

/// What to look at besides the machine.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) source: Option<PathBuf>,
    pub(in crate::cli) location: Option<String>,
}

/// How well something will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Ok,
    /// It works, but slower or with less than it could.
    Limited,
    /// It does not work.
    No,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::No => "no",
        }
    }
}

/// One line of the report.
#[derive(Debug)]
struct Line {
    name: &'static str,
    state: State,
    what: String,
    /// What to do about it; empty when there is nothing to do.
    advice: &'static str,
}

impl Line {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, state: State::Ok, what: what.into(), advice: "" }
    }

    fn limited(name: &'static str, what: impl Into<String>, advice: &'static str) -> Self {
        Self { name, state: State::Limited, what: what.into(), advice }
    }

    fn no(name: &'static str, what: impl Into<String>, advice: &'static str) -> Self {
        Self { name, state: State::No, what: what.into(), advice }
    }

    /// `ok` when the claim holds, limited with advice when not.
    fn if_so(claim: bool, name: &'static str, what: impl Into<String>, advice: &'static str) -> Self {
        if claim { Self::ok(name, what) } else { Self::limited(name, what, advice) }
    }
}

#[derive(Debug, Serialize)]
struct LineView {
    name: &'static str,
    state: &'static str,
    what: String,
    advice: &'static str,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    lines: Vec<LineView>,
}

/// The outcome is always clean: a limit is an answer, not a failure.
pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let mut lines = machine::look(context);
    if let Some(source) = &settings.source {
        lines.extend(source::look(context, source));
    }
    if let Some(location) = &settings.location {
        lines.extend(repository::look(context, location));
    }
    let views = lines.iter().map(|line| {
        let Line { name, state, what, advice } = line;
        LineView { name, state: state.word(), what: what.clone(), advice }
    });
    let view = View { schema: "icecore.doctor.v1", lines: views.collect() };
    context.report(&view, || describe(&lines))?;
    Ok(Outcome::Clean)
}

fn describe(lines: &[Line]) -> String {
    let rows = lines.iter().map(|line| {
        let advice = if line.advice.is_empty() { String::new() } else { format!("; {}", line.advice) };
        vec![line.state.word().to_owned(), line.name.to_owned(), format!("{}{advice}", line.what)]
    });
    text::table(&["", "", ""], &[], rows.collect()).trim_start().to_owned()
}

//! Cat: the content of a file to standard output.

use std::io;

use super::default_workers;
use crate::cli::context::Context;
use crate::cli::damage_views::say_found_elsewhere;
use crate::cli::outcome::Outcome;
use crate::cli::output;
use crate::cli::place::Place;
use crate::job::JobError;
use crate::job::extract::stream;

/// What to write out.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) place: Place,
    pub(in crate::cli) workers: Option<usize>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let place = settings.place.open(context)?;
    let workers = settings.workers.unwrap_or_else(default_workers);
    let mut out = io::stdout().lock();
    let ended = stream(place.filesystem.as_ref(), &place.inode, &mut out, workers, &context.interrupts.cancel());
    say_found_elsewhere(&place.found_elsewhere());
    match ended {
        Ok(_) => {}
        Err(JobError::Output(error)) => output::forgive_reader(Err(error))?,
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::findings_if(place.is_stale()))
}

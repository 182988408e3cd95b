//! Whether a repository can be reached and unlocked, and whether its clock and ours agree.

use super::Line;
use crate::cli::context::Context;
use crate::cli::failure::chain_text;
use crate::cli::{text, times};
use crate::repository::{CLOCK_SKEW, Repository};
use crate::store::Missing;

pub(super) fn look(context: &Context, location: &str) -> Vec<Line> {
    let store = match context.store(location, Missing::Refuse) {
        Ok(store) => Line::ok("store", store.location()),
        Err(error) => return vec![Line::no("store", chain_text(&error), "")],
    };
    match context.repository(location) {
        Err(error) => vec![store, Line::no("repository", chain_text(&error), "")],
        Ok(repository) => {
            let id = format!("{} opens with this key", repository.config().id);
            vec![store, Line::ok("repository", id), keys(&repository), points(context, &repository)]
        }
    }
}

fn keys(repository: &Repository) -> Line {
    match repository.key_slots() {
        Ok(slots) => {
            let what = text::count(slots.len() as u64, "key slot");
            Line::if_so(slots.len() > 1, "keys", what, "lose this key and all is lost: 'icecore key export' makes one for paper")
        }
        Err(error) => Line::no("keys", chain_text(&error.into()), ""),
    }
}

/// A point from the future means that this clock or another is wrong.
fn points(context: &Context, repository: &Repository) -> Line {
    let listing = match repository.points() {
        Ok(listing) => listing,
        Err(error) => return Line::no("points", chain_text(&error.into()), ""),
    };
    let count = text::count(listing.points.len() as u64, "point");
    if !listing.damaged.is_empty() {
        let what = format!("{count}, and {} that cannot be read", listing.damaged.len());
        return Line::no("points", what, "'icecore check' tells more");
    }
    match listing.points.iter().map(|point| point.id.time).max() {
        None => Line::ok("points", count),
        Some(newest) => {
            let what = format!("{count}, the newest from {}", times::local(newest, &context.zone));
            let sane = newest <= context.clock.now().plus(CLOCK_SKEW);
            Line::if_so(sane, "points", what, "that is in the future: compare this machine's clock with that of the writer")
        }
    }
}

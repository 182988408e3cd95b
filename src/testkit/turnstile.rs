//! A turnstile before a store: actors pass one call at a time, in an order that a seed decides, while time jumps.
//!
//! ```text
//!   actor 0 ──► [gate] ─┐
//!   actor 1 ──► [gate] ─┼─ all of them are waiting or have ended? then the seed picks one ─► store
//!   actor 2 ──► [gate] ─┘
//! ```
//! Since a pick is made only when every actor waits, the order depends on the seed and on what the actors ask for, and on nothing
//! else. An actor must ask for one thing at a time; two calls of one actor at once are an error of the test.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::{Store, StoreError};
use crate::testkit::dice::Dice;
use crate::testkit::guarded::{Act, Doorkeeper, Guarded};
use crate::testkit::manual_clock::ManualClock;

/// How time passes between two calls, and how long an actor may sleep.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Of 1,000 calls, how many a jump precedes.
    pub jump_per_mille: u64,
    /// The jumps to choose from.
    pub jumps: Vec<Duration>,
    /// Of 1,000 calls, how many are preceded by an actor falling asleep.
    pub sleep_per_mille: u64,
    /// The longest sleep, in calls of the others.
    pub longest_sleep: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It computes, or its call is under way.
    Away,
    /// It waits at the gate.
    Waiting,
    /// It will make no more calls.
    Ended,
}

#[derive(Debug)]
struct Hall {
    states: Vec<State>,
    /// Calls of the others that each actor sleeps through.
    asleep: Vec<u64>,
    chosen: Option<usize>,
    trace: Vec<(usize, Act, String)>,
}

/// The turnstile.
#[derive(Debug)]
pub struct Turnstile {
    hall: Mutex<Hall>,
    changed: Condvar,
    dice: Dice,
    weather: Weather,
    clock: Arc<ManualClock>,
}

/// One actor's gate.
#[derive(Debug)]
pub struct Gate {
    turnstile: Arc<Turnstile>,
    actor: usize,
}

impl Turnstile {
    /// A turnstile for so many actors. Nobody passes until all of them have come.
    #[must_use]
    pub fn new(actors: usize, seed: u64, weather: Weather, clock: Arc<ManualClock>) -> Arc<Self> {
        let hall = Hall { states: vec![State::Away; actors], asleep: vec![0; actors], chosen: None, trace: Vec::new() };
        Arc::new(Self { hall: Mutex::new(hall), changed: Condvar::new(), dice: Dice::new(seed), weather, clock })
    }

    /// The store as `actor` sees it.
    #[must_use]
    pub fn store(self: &Arc<Self>, actor: usize, inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Guarded::new(inner, Arc::new(Gate { turnstile: Arc::clone(self), actor })))
    }

    /// Says that an actor will make no more calls, when dropped.
    #[must_use]
    pub fn attend(self: &Arc<Self>, actor: usize) -> Attendance {
        Attendance { turnstile: Arc::clone(self), actor }
    }

    /// Every call in the order in which they were let through.
    #[must_use]
    pub fn trace(&self) -> Vec<(usize, Act, String)> {
        self.lock().trace.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, hall: &mut Hall, actor: usize, state: State) {
        if let Some(slot) = hall.states.get_mut(actor) {
            *slot = state;
        }
        self.choose(hall);
        self.changed.notify_all();
    }

    /// Picks the next actor if all of them wait.
    fn choose(&self, hall: &mut Hall) {
        let waiting: Vec<usize> = (0..hall.states.len()).filter(|actor| hall.states[*actor] == State::Waiting).collect();
        if hall.chosen.is_some() || hall.states.contains(&State::Away) || waiting.is_empty() {
            return;
        }
        if self.dice.chance(self.weather.sleep_per_mille) {
            hall.asleep[waiting[self.dice.index(waiting.len())]] = self.dice.below(self.weather.longest_sleep);
        }
        let awake: Vec<usize> = waiting.iter().copied().filter(|actor| hall.asleep[*actor] == 0).collect();
        let pool = if awake.is_empty() { &waiting } else { &awake };
        let actor = pool[self.dice.index(pool.len())];
        hall.asleep.iter_mut().for_each(|calls| *calls = calls.saturating_sub(1));
        if !self.weather.jumps.is_empty() && self.dice.chance(self.weather.jump_per_mille) {
            self.clock.advance(self.weather.jumps[self.dice.index(self.weather.jumps.len())]);
        }
        hall.chosen = Some(actor);
    }
}

impl Doorkeeper for Gate {
    fn enter(&self, act: Act, name: &str) -> Result<(), StoreError> {
        let turnstile = &self.turnstile;
        let mut hall = turnstile.lock();
        assert_eq!(hall.states[self.actor], State::Away, "actor {} asks for two things at once: {act:?} {name}", self.actor);
        turnstile.set(&mut hall, self.actor, State::Waiting);
        while hall.chosen != Some(self.actor) {
            hall = turnstile.changed.wait(hall).unwrap_or_else(PoisonError::into_inner);
        }
        hall.chosen = None;
        hall.states[self.actor] = State::Away;
        hall.trace.push((self.actor, act, name.to_owned()));
        Ok(())
    }
}

/// An actor's presence.
#[derive(Debug)]
pub struct Attendance {
    turnstile: Arc<Turnstile>,
    actor: usize,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let mut hall = self.turnstile.lock();
        self.turnstile.set(&mut hall, self.actor, State::Ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectKey;
    use crate::store::memory::Memory;
    use bytes::Bytes;
    use std::thread;

    fn run(seed: u64) -> Vec<(usize, Act, String)> {
        let clock = Arc::new(ManualClock::default());
        let inner: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
        let weather = Weather { jump_per_mille: 100, jumps: vec![Duration::from_secs(1)], sleep_per_mille: 100, longest_sleep: 10 };
        let turnstile = Turnstile::new(3, seed, weather, clock);
        thread::scope(|scope| {
            for actor in 0..3 {
                let (turnstile, inner) = (Arc::clone(&turnstile), Arc::clone(&inner));
                scope.spawn(move || {
                    let _here = turnstile.attend(actor);
                    let store = turnstile.store(actor, inner);
                    for number in 0..10 {
                        store.put(&ObjectKey::new(format!("{actor}/{number}")).unwrap(), Bytes::new()).unwrap();
                    }
                });
            }
        });
        turnstile.trace()
    }

    #[test]
    fn one_seed_gives_one_order_and_all_calls_pass() {
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert_eq!(run(3).len(), 30);
    }
}

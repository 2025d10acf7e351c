//! The engine and OpenBLAS by turns. A machine's speed may change by a tenth from one minute to the next, and criterion measures one
//! after the other for seconds each: the ratio of its times changes with it, that of two turns beside each other does not.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use tilegrad::bench::Spread;
use tilegrad::report::significant;

/// Before a turn: for long after a call OpenBLAS' threads wait for the next one on cores that the engine needs.
const PAUSE: Duration = Duration::from_millis(150);
/// A turn is at least so long, after calls that are not timed for half of it.
const TURN: Duration = Duration::from_millis(40);

/// How many times as long OpenBLAS takes for the same operation at the same shape.
pub struct Ratio {
    pub group: String,
    pub shape: String,
    /// Of each round.
    pub of_rounds: Spread,
}

/// What was compared so far.
pub struct Turns {
    rounds: usize,
    pub ratios: Vec<Ratio>,
}

impl Turns {
    /// As many rounds as criterion's arguments say: few if it is to be quick, none if it is only to try everything.
    pub fn from_args() -> Self {
        let is_given = |option: &str| env::args().any(|argument| argument == option);
        let rounds = match () {
            // Criterion is to time nothing either.
            () if !is_given("--bench") => 0,
            () if ["--test", "--list", "--profile-time"].into_iter().any(is_given) => 0,
            () if is_given("--quick") => 5,
            () => 21,
        };
        Turns { rounds, ratios: Vec::new() }
    }

    /// Compares the two.
    pub fn compare(&mut self, group: &str, shape: &str, engine: &mut dyn FnMut(), peer: &mut dyn FnMut()) {
        let ratios: Vec<f64> = (0..self.rounds)
            .map(|round| {
                // Neither is always the first.
                if round.is_multiple_of(2) {
                    let ours = turn(engine);
                    turn(peer) / ours
                } else {
                    let theirs = turn(peer);
                    theirs / turn(engine)
                }
            })
            .collect();
        if !ratios.is_empty() {
            let of_rounds = Spread::of(ratios, 1);
            println!(
                "{group}/{shape}: OpenBLAS takes {} times as long, by turns",
                significant(of_rounds.median, 3)
            );
            self.ratios.push(Ratio { group: group.to_owned(), shape: shape.to_owned(), of_rounds });
        }
    }
}

/// The median of a turn's calls, in seconds.
fn turn(work: &mut dyn FnMut()) -> f64 {
    thread::sleep(PAUSE);
    calls(work, TURN / 2);
    Spread::of(calls(work, TURN), 1).median
}

/// Seconds of each call, for so long; of one at least.
fn calls(work: &mut dyn FnMut(), length: Duration) -> Vec<f64> {
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while seconds.is_empty() || start.elapsed() < length {
        let call = Instant::now();
        work();
        seconds.push(call.elapsed().as_secs_f64());
    }
    seconds
}

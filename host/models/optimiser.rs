//! The settings' optimiser as a step of an engine.

use super::{Optimiser, Settings};
use crate::engine::Update;

impl Settings {
    /// The rule of step `i` of `steps`, counted from 0, for weights or, without the penalty, for biases.
    pub(super) fn rule(&self, i: usize, steps: usize, penalised: bool) -> Update {
        let learning_rate = self.learning_rate * self.schedule.at(i, steps);
        let l2 = if penalised { self.l2 } else { 0.0 };
        match self.optimiser {
            Optimiser::Descent => Update::Descent { learning_rate, l2 },
            Optimiser::Momentum { momentum } => Update::Momentum { learning_rate, momentum, l2 },
            Optimiser::Adam { beta1, beta2, epsilon } => {
                Update::Adam { learning_rate, beta1, beta2, epsilon, step: i as u64 + 1, l2 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Schedule;

    #[test]
    fn rules_have_the_step_s_rate_and_biases_no_penalty() {
        let schedule = Schedule::Step { every: 2, factor: 0.5 };
        let settings = Settings { learning_rate: 0.8, l2: 0.1, schedule, ..Settings::default() };
        assert_eq!(settings.rule(1, 9, true), Update::Descent { learning_rate: 0.8, l2: 0.1 });
        assert_eq!(settings.rule(2, 9, false), Update::Descent { learning_rate: 0.4, l2: 0.0 });
        let momentum = Settings { optimiser: Optimiser::Momentum { momentum: 0.7 }, ..settings.clone() };
        let expected = Update::Momentum { learning_rate: 0.2, momentum: 0.7, l2: 0.1 };
        assert_eq!(momentum.rule(4, 9, true), expected);
        let adam = Settings { optimiser: Optimiser::adam(), ..settings };
        let Update::Adam { step, learning_rate, .. } = adam.rule(5, 9, true) else { panic!("another rule") };
        assert_eq!((step, learning_rate), (6, 0.2));
    }
}

//! What linear and logistic regression have in common: z = Xw + b, and full-batch descent of a loss of z.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, Given, Subject, Writer};
use super::descent::{Descent, History};
use super::gram::Compressed;
use super::training::{About, Run, Training};
use super::{Method, Progress, Scale, Scaler, Settings, descent};
use crate::data::{Encoding, Table};
use crate::engine::{Descended, Engine, Loss, Objective, Samples, Scaling};
use crate::{Error, Result};

/// Steps with which a learning rate is tried before it is suggested.
const TRIAL_STEPS: usize = 10;

/// What a model is trained on, in words, and how.
pub(super) struct Task<'a> {
    /// The kind of model.
    pub model: &'static str,
    pub settings: &'a Settings,
    pub loss: Loss,
    pub encoding: &'a Encoding,
    pub target: &'a str,
    pub samples: usize,
    pub method: Method,
    pub start: Option<&'a Start>,
    /// Columns of z.
    pub outputs: usize,
}

/// What the steps go over, on an engine.
pub(super) struct Prepared<E: Engine> {
    pub x: E::Matrix,
    pub scaling: Option<Scaling<E::Matrix>>,
    pub y: E::Matrix,
    pub scaler: Scaler,
    /// The numbers of the features that are constant.
    pub constant: Vec<usize>,
}

impl<E: Engine> Prepared<E> {
    /// All samples, with their targets `y`.
    pub(super) fn direct(engine: &E, scale: Scale, table: &Table, y: &[f32]) -> Result<Self> {
        let (samples, features) = (table.rows(), table.columns().len());
        let x = engine.share(samples, features, table.shared_values())?;
        let (scaler, constant) = Scaler::fit(scale, engine, &x, table)?;
        let (scaling, y) = (scaler.on(engine)?, engine.upload(samples, 1, y)?);
        Ok(Prepared { x, scaling, y, scaler, constant })
    }

    /// The few samples on the engine. They are scaled already.
    pub(super) fn few(engine: &E, compressed: Compressed) -> Result<Self> {
        let Compressed { samples, x, y, scaler, constant } = compressed;
        let x = engine.share(samples, x.len() / samples, &Arc::new(x))?;
        Ok(Prepared { x, scaling: None, y: engine.upload(samples, 1, &y)?, scaler, constant })
    }
}

/// z = Xw + b of k columns, for scaled features.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    /// Features × k, row by row.
    pub weights: Vec<f64>,
    /// One for each column of z.
    pub bias: Vec<f64>,
}

impl Affine {
    /// z (m × k) of the rows of `x`, row by row.
    ///
    /// # Errors
    /// Columns other than the model's features, a z beyond `f32`, or what the engine reports.
    pub(super) fn outputs<E: Engine>(&self, engine: &E, about: &About, x: &Table) -> Result<Vec<f64>> {
        about.check(x)?;
        let (m, features, k) = (x.rows(), about.features().len(), self.bias.len());
        let x = engine.share(m, features, x.shared_values())?;
        let scaling = about.scaler.on(engine)?;
        let of = |column: usize| {
            let weights = self.weights.iter().skip(column).step_by(k);
            let weights: Vec<f32> = weights.map(|&weight| weight as f32).collect();
            let weights = engine.upload(features, 1, &weights)?;
            let bias = engine.upload(1, 1, &[self.bias[column] as f32])?;
            let z = engine.read(&engine.matrix_vector(&x, scaling.as_ref(), &weights, &bias)?)?;
            match z.iter().position(|z| !(*z as f32).is_finite()) {
                Some(row) => Err(about.beyond(row)),
                None => Ok(z),
            }
        };
        if k == 1 {
            return of(0);
        }
        let mut outputs = vec![0.0; m * k];
        for column in 0..k {
            outputs.iter_mut().skip(column).step_by(k).zip(of(column)?).for_each(|(to, z)| *to = z);
        }
        Ok(outputs)
    }

    /// Weights and biases for the data in their own units.
    pub(super) fn to_raw(&self, scaler: &Scaler) -> Affine {
        let k = self.bias.len();
        let mut raw = self.clone();
        for column in 0..k {
            let weights: Vec<f64> = self.weights.iter().skip(column).step_by(k).copied().collect();
            let (weights, bias) = scaler.to_raw(&weights, self.bias[column]);
            raw.weights.iter_mut().skip(column).step_by(k).zip(weights).for_each(|(to, w)| *to = w);
            raw.bias[column] = bias;
        }
        raw
    }

    /// The same for features as `scaler` scales them, if this is for data in their own units.
    pub(super) fn of_raw(mut self, scaler: &Scaler) -> Affine {
        let k = self.bias.len();
        let moments = scaler.mean().iter().zip(scaler.standard_deviation());
        for (weights, (mean, deviation)) in self.weights.chunks_exact_mut(k).zip(moments) {
            for (weight, bias) in weights.iter_mut().zip(&mut self.bias) {
                *bias += *weight * mean;
                *weight *= deviation;
            }
        }
        self
    }

    /// Whether all weights and biases, and those for raw data, are finite in `f32`.
    pub(super) fn is_finite(&self, scaler: &Scaler) -> bool {
        let raw = self.to_raw(scaler);
        let narrow = self.weights.iter().chain(&self.bias).all(|value| (*value as f32).is_finite());
        narrow && raw.weights.iter().chain(&raw.bias).all(|value| value.is_finite())
    }
}

/// Where a warm start begins: at what another model has learnt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    features: Vec<String>,
    /// None, if it has none.
    classes: Vec<String>,
    scaler: Scaler,
    affine: Affine,
}

impl Start {
    pub(super) fn of(about: &About, affine: &Affine) -> Self {
        let (features, scaler) = (about.features().to_vec(), about.scaler.clone());
        Start { features, classes: Vec::new(), scaler, affine: affine.clone() }
    }

    pub(super) fn with_classes(self, classes: &[String]) -> Self {
        Start { classes: classes.to_vec(), ..self }
    }

    /// Refuses a start for other classes.
    pub(super) fn check_classes(&self, classes: &[String]) -> Result<()> {
        match self.classes == classes {
            true => Ok(()),
            false => Err(Error::Setting(format!(
                "the model to start from has the classes {}; these data have {}: a warm start needs the same ones",
                self.classes.join(", "),
                classes.join(", ")
            ))),
        }
    }

    /// What tells it from others, for checkpoints: SHA-256 of its numbers, in hexadecimal digits.
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for numbers in [&self.affine.weights, &self.affine.bias] {
            hash.update(bytemuck::cast_slice(numbers));
        }
        hash.update(bytemuck::cast_slice(self.scaler.mean()));
        hash.update(bytemuck::cast_slice(self.scaler.standard_deviation()));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same model for features as `scaler` scales them. Weights of `constant` features, which nothing moves, are 0.
    pub(super) fn on(&self, columns: &[String], scaler: &Scaler, constant: &[usize]) -> Result<Affine> {
        if self.features != columns {
            return Err(Error::Setting(format!(
                "the model to start from has the features {:?}; these data have {columns:?}: a warm start needs the same \
                 ones, in the same order",
                self.features
            )));
        }
        let mut affine = self.affine.clone();
        if self.scaler != *scaler {
            affine = affine.to_raw(&self.scaler).of_raw(scaler);
        }
        let k = affine.bias.len();
        for &j in constant {
            affine.weights[j * k..][..k].fill(0.0);
        }
        Ok(affine)
    }
}

/// What training came to.
pub(super) struct Trained {
    pub about: About,
    pub affine: Affine,
}

/// Full-batch descent over what was prepared.
pub(super) fn descend<E: Engine>(
    engine: &E,
    task: &Task<'_>,
    prepared: Prepared<E>,
    checkpoints: Option<(Writer, Option<Checkpoint>)>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained> {
    let Task { settings, loss, encoding, .. } = *task;
    let objective = Objective { loss, l2: settings.l2 };
    let Prepared { x, scaling, y, scaler, constant } = &prepared;
    let over = &Samples { x, scaling: scaling.as_ref(), y };
    let n = encoding.features().len();
    let start = task.begin(scaler, constant)?;
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let begin = |learning_rate| {
        let weights = engine.upload(n, 1, &narrow(&start.weights))?;
        let bias = engine.upload(1, 1, &narrow(&start.bias))?;
        Ok::<_, Error>(Steps { engine, over, objective, weights, bias, learning_rate })
    };
    let mut descent = begin(settings.learning_rate)?;
    let run =
        descent::descend(engine, &mut descent, (settings.epochs, settings.tolerance), checkpoints, progress)?;
    let Steps { weights, bias, .. } = descent;
    // The cost after the last step is watched as the others are.
    let run = match run {
        Ok((mut history, ending)) => {
            let last = engine.cost(objective, over, &weights, &bias)?;
            history.extend(&[last]).and_then(|()| history.into_costs()).map(|costs| (costs, ending))
        }
        Err(growth) => Err(growth),
    };
    let (history, ending) = match run {
        Ok(ended) => ended,
        Err(growth) if growth.iteration == 0 => {
            let when = format!("the cost is {} before the first step", growth.cost);
            return Err(task.too_large(&when));
        }
        Err(growth) => {
            let suggestion = descent::rate_that_would_do(engine, x, scaling.as_ref(), objective)?;
            // A rate is only suggested if it does: sums of a huge target overflow with any.
            if let Some(rate) = suggestion {
                let Descended { costs, .. } = begin(rate)?.steps(TRIAL_STEPS)?;
                if History::default().extend(&costs).is_err() {
                    let (first, cost) = (growth.first_cost, growth.cost);
                    return Err(task.too_large(&format!(
                        "the cost goes from {first:.6e} to {cost:.6e} whatever the learning rate"
                    )));
                }
            }
            return Err(Error::Diverged {
                iteration: growth.iteration,
                first_cost: growth.first_cost,
                cost: growth.cost,
                learning_rate: settings.learning_rate,
                suggestion,
            });
        }
    };
    let affine = Affine { weights: engine.read(&weights)?, bias: engine.read(&bias)? };
    task.trained(engine, prepared.scaler, &prepared.constant, affine, Run::new(history, ending))
}

impl Task<'_> {
    /// Where training begins: at the warm start, or at 0.
    pub(super) fn begin(&self, scaler: &Scaler, constant: &[usize]) -> Result<Affine> {
        let columns = self.encoding.features();
        match self.start {
            Some(start) => start.on(columns, scaler, constant),
            None => {
                Ok(Affine { weights: vec![0.0; columns.len() * self.outputs], bias: vec![0.0; self.outputs] })
            }
        }
    }

    /// The error for data whose sums overflow.
    fn too_large(&self, when: &str) -> Error {
        let which = match self.loss {
            Loss::SquaredError => format!("the values of the target {:?} are", self.target),
            Loss::LogLoss => "values of the features are".to_owned(),
        };
        Error::Data(format!("{when}: {which} too large for 32-bit floating point: use a larger unit"))
    }

    /// Refuses checkpoints of what is not descent.
    pub(super) fn without_checkpoints<T>(&self, checkpoints: Option<T>) -> Result<()> {
        match checkpoints {
            None => Ok(()),
            Some(_) => Err(Error::Setting(format!(
                "the solver {} has no steps to go on from: leave the checkpoint out, or take the solver descent",
                self.settings.solver
            ))),
        }
    }

    /// What was trained.
    pub(super) fn trained<E: Engine>(
        &self,
        engine: &E,
        scaler: Scaler,
        constant: &[usize],
        affine: Affine,
        Run { history, validation, ending }: Run,
    ) -> Result<Trained> {
        if !affine.is_finite(&scaler) {
            return Err(Error::Data("the weights are beyond floating point: use other units".to_owned()));
        }
        let training = Training {
            settings: self.settings.clone(),
            iterations: history.len() - 1,
            ending,
            engine: engine.arithmetic(),
            method: self.method,
            samples: self.samples,
            cost: history[history.len() - 1],
            constant_features: constant.iter().map(|&j| self.encoding.features()[j].clone()).collect(),
        };
        let (encoding, target) = (self.encoding.clone(), self.target.to_owned());
        Ok(Trained { about: About { encoding, target, scaler, training, history, validation }, affine })
    }

    /// What decides the bits of each step.
    pub(super) fn subject<E: Engine>(&self, engine: &E, fingerprint: String) -> Subject {
        let mut settings = self.settings.entries(self.method);
        settings.push(("loss", self.loss.to_string().into()));
        if let Some(start) = self.start {
            settings.push(("model to start from", start.fingerprint().into()));
        }
        let (target, features, samples) = (self.target, self.encoding.features(), self.samples);
        Subject::new(self.model, settings, engine, Given { target, features, samples, fingerprint })
    }
}

/// Weights and bias on their way down, with what the way goes over.
struct Steps<'a, E: Engine> {
    engine: &'a E,
    over: &'a Samples<'a, E::Matrix>,
    objective: Objective,
    weights: E::Matrix, // (n)
    bias: E::Matrix,    // (1)
    learning_rate: f64,
}

impl<E: Engine> Descent<E> for Steps<'_, E> {
    fn parameters(&mut self) -> Vec<(String, &mut E::Matrix)> {
        vec![("weights".to_owned(), &mut self.weights), ("bias".to_owned(), &mut self.bias)]
    }

    fn steps(&mut self, count: usize) -> Result<Descended> {
        let Steps { engine, over, objective, weights, bias, learning_rate } = self;
        engine.descend(*objective, over, weights, bias, *learning_rate, count)
    }
}

//! The models: written once, against [`Engine`](crate::engine::Engine), for every place where they run.
//!
//! ```
//! use tilegrad::data::{Dataset, Table};
//! use tilegrad::engine::Loop;
//! use tilegrad::models::LinearRegression;
//!
//! let hours = Table::new(vec!["hours".into()], vec![1.0, 2.0, 3.0, 4.0])?;
//! let dataset = Dataset::new(hours, "marks", vec![30.0, 50.0, 70.0, 90.0])?;
//! let model = LinearRegression::new().learning_rate(0.5).iterations(100).fit(&Loop, &dataset)?;
//! let (weights, bias) = model.raw();
//! assert!((weights[0] - 20.0).abs() < 1e-6 && (bias - 10.0).abs() < 1e-6);
//! # Ok::<(), tilegrad::Error>(())
//! ```

mod batches;
mod checkpoint;
mod descent;
mod file;
mod format;
mod gram;
mod linear;
mod logistic;
mod method;
pub mod metrics;
mod model;
mod network;
mod newton;
mod normal;
mod optimiser;
mod predictions;
mod regression;
mod scaler;
mod settings;
mod source;
mod stepwise;
mod training;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use descent::Progress;
pub use linear::{FittedLinear, LinearRegression};
pub use logistic::{FittedLogistic, LogisticRegression};
pub use method::Method;
pub use model::Model;
pub use network::{DenseLayer, DenseNetwork, FittedNetwork, Layers, MultilayerPerceptron};
pub use predictions::{Metrics, Predictions};
pub use scaler::{Scale, Scaler};
pub use settings::{EarlyStopping, Optimiser, Schedule, Settings, Solver};
pub use training::{Ending, Training};

//! Model files: see [`format`](super::format) for what they share with checkpoints.
//!
//! The metadata hold `features`, `target`, `scale` and `training`. The tensors: `weights` (features) and `bias` (1) for
//! scaled features, `mean` and `standard_deviation` (features). A prediction is
//! Σ weights · (x − mean) / standard_deviation + bias.
//!
//! In Python:
//!
//! ```text
//! with safetensors.safe_open("model.safetensors", "np") as file:
//!     about = json.loads(file.metadata()["tilegrad"])
//!     weights = file.get_tensor("weights")
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::format::{Format, load};
use super::{FittedLinear, Scale, Scaler, Training};
use crate::data::{Output, repeated};
use crate::{Error, Result};

/// What a model file is.
const FORMAT: Format =
    Format { kind: "linear", version: 1, name: "model file", remedy: "train the model again" };

#[derive(Serialize, Deserialize)]
struct About {
    features: Vec<String>,
    target: String,
    scale: Scale,
    training: Training,
}

impl FittedLinear {
    /// Writes the model to a file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; what was there before is there still.
    pub fn save(&self, output: &Output) -> Result<()> {
        output.write(&self.to_bytes()?)
    }

    /// Reads a model that [`FittedLinear::save`] wrote: bit for bit the same, but for the history of costs, which is
    /// not in the file.
    ///
    /// # Errors
    /// The file cannot be read, is cut short, is no model of this crate's, has another version or kind of model, or
    /// its numbers do not fit together.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        load(path, Self::parse, |problem| Error::Model { path: path.to_owned(), problem })
    }

    /// The bytes that [`FittedLinear::save`] writes.
    ///
    /// # Errors
    /// The features' names take more than 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let about = About {
            features: self.features.clone(),
            target: self.target.clone(),
            scale: self.scaler.scale(),
            training: self.training.clone(),
        };
        FORMAT.to_bytes(
            &about,
            &[
                ("weights", &self.weights),
                ("bias", &[self.bias]),
                ("mean", self.scaler.mean()),
                ("standard_deviation", self.scaler.standard_deviation()),
            ],
        )
    }

    /// As [`FittedLinear::load`], from the file's bytes.
    ///
    /// # Errors
    /// As [`FittedLinear::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|problem| Error::Model { path: PathBuf::from("the bytes given"), problem })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (about, tensors): (About, _) = FORMAT.read(bytes)?;
        let features = about.features.len();
        let in_f32 = |value: f64| (value as f32).is_finite();
        let weights = tensors.numbers("weights", Some(features), in_f32)?;
        let bias = tensors.numbers("bias", Some(1), in_f32)?[0];
        let mean = tensors.numbers("mean", Some(features), in_f32)?;
        let divisor = |value: f64| (value as f32).is_finite() && value as f32 > 0.0;
        let standard_deviation = tensors.numbers("standard_deviation", Some(features), divisor)?;
        if features == 0 {
            return Err(FORMAT.damaged("it has no features"));
        }
        if let Some(name) = repeated(&about.features) {
            return Err(FORMAT.damaged(format_args!("it has two features named {name:?}")));
        }
        Ok(FittedLinear {
            features: about.features,
            target: about.target,
            scaler: Scaler::from_parts(about.scale, mean, standard_deviation),
            weights,
            bias,
            training: about.training,
            history: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Method;

    fn model() -> FittedLinear {
        FittedLinear {
            features: vec!["a".to_owned(), "täg,\"b\"".to_owned()],
            target: "y".to_owned(),
            scaler: Scaler::from_parts(Scale::ZScore, vec![1.0 / 3.0, -1e-30], vec![1e-20, 3.0]),
            weights: vec![-0.1, f64::MIN_POSITIVE],
            bias: -0.0,
            training: Training {
                learning_rate: 0.1,
                iterations: 1000,
                engine: "loop".to_owned(),
                method: Method::Direct,
                samples: 442,
                cost: 0.1 + 0.2,
                constant_features: vec!["a".to_owned()],
            },
            history: Vec::new(),
        }
    }

    /// The file with its metadata's JSON changed, and its lengths set right.
    fn changed(from: &str, to: &str) -> Result<FittedLinear> {
        let bytes = model().to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
        assert!(header.contains(from), "{header}");
        let header = header.replacen(from, to, 1);
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + length..]].concat();
        FittedLinear::from_bytes(&bytes)
    }

    #[test]
    fn a_model_comes_back_bit_for_bit() {
        let bytes = model().to_bytes().unwrap();
        let read = FittedLinear::from_bytes(&bytes).unwrap();
        assert_eq!(read, model());
        assert!(read.bias.is_sign_negative());
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_folder_is_no_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        model().save(&Output::new(&path).unwrap()).unwrap();
        assert_eq!(FittedLinear::load(&path).unwrap(), model());
        let refused = FittedLinear::load(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("this is not a file"), "{refused}");
    }

    #[test]
    fn no_length_and_no_flipped_bit_is_a_panic() {
        let bytes = model().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(FittedLinear::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A flip within a number may give another number; any answer but a panic will do.
            let _ = FittedLinear::from_bytes(&bytes);
        }
    }

    #[test]
    fn other_versions_kinds_and_contents_are_refused() {
        let text = |from, to| changed(from, to).unwrap_err().to_string();
        assert!(text(r#"\"version\":1"#, r#"\"version\":7"#).contains("has version 7, but tilegrad"));
        assert!(text(r#"\"kind\":\"linear\""#, r#"\"kind\":\"network\""#).contains("of kind \"network\""));
        assert!(text(r#""tilegrad":"#, r#""other":"#).contains("not one that tilegrad wrote"));
        assert!(text(r#"[\"a\","#, r#"[\"a\",\"b\","#).contains("not F64 [3]"));
        assert!(text(r#"\"features\""#, r#"\"fixtures\""#).contains("missing field `features`"));
        assert!(text(r#""mean":"#, r#""median":"#).contains("`mean` not found"));
        assert!(text("F64", "I64").contains("not F64"));
        assert!(text(r#""shape":[2]"#, r#""shape":[2,1]"#).contains("not F64 [2]"));
        assert!(text(r#"\"täg,\\\"b\\\"\""#, r#"\"a\""#).contains("two features named \"a\""));
        let none = FittedLinear { features: vec![], weights: vec![], ..model() };
        let none = FittedLinear { scaler: Scaler::from_parts(Scale::ZScore, vec![], vec![]), ..none };
        assert!(FittedLinear::parse(&none.to_bytes().unwrap()).unwrap_err().contains("no features"));
        assert!(FittedLinear::parse(b"a,b\n1,2\n").unwrap_err().contains("no model file"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        for (which, value) in
            [(0, f64::NAN), (0, f64::INFINITY), (0, 1e300), (1, f64::NAN), (2, 0.0), (2, -1.0)]
        {
            let mut model = model();
            match which {
                0 => model.weights[1] = value,
                1 => model.bias = value,
                _ => model.scaler = Scaler::from_parts(Scale::ZScore, vec![0.0; 2], vec![1.0, value]),
            }
            assert!(
                FittedLinear::parse(&model.to_bytes().unwrap()).unwrap_err().contains("damaged"),
                "{value}"
            );
        }
    }
}

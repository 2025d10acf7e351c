//! Model files: safetensors, which many languages read.
//!
//! The metadata have one entry, `tilegrad`: a JSON object.
//!
//! | entry | what it holds |
//! |---|---|
//! | `version` | 2 |
//! | `kind` | `linear`, `logistic` or `network` |
//! | `features` | the features' names, in the order of the weights |
//! | `encoding` | how the columns of a file become the features: see [`Encoding`] |
//! | `target` | the target's name |
//! | `scale` | `zscore` or `none` |
//! | `classes` | the classes' names, in the order of their numbers; of a classifier alone |
//! | `layers` | of a network alone: its layers as `64:relu,10:softmax` says them |
//! | `training` | how it was trained: see [`Training`] |
//!
//! The tensors, row-major, of n features:
//!
//! | tensor | | |
//! |---|---|---|
//! | `mean`, `standard_deviation` | F64 [n] | x is taken as (x − mean) / standard_deviation; 0 and 1 with the scale `none` |
//! | `weights`, `bias` | F64 [n, k], [k] | z = x · weights + bias |
//! | `layer.0.weights`, `layer.0.bias`, … | F32 [inputs, units], [units] | of a network: a layer's A · weights + bias |
//!
//! A linear model has k = 1 and predicts z. A logistic model of two classes has k = 1, and the second class has the
//! probability 1 / (1 + e⁻ᶻ); with K > 2 classes k = K, and the probabilities are the softmax of z. A network's layers are each
//! followed by the function that `layers` names; the last by what makes z the prediction, in the same way. tilegrad computes z in 32
//! bits, except on the engine `loop`.
//!
//! In Python:
//!
//! ```text
//! with safetensors.safe_open("model.safetensors", "np") as file:
//!     about = json.loads(file.metadata()["tilegrad"])
//!     mean, deviation, weights, bias = (
//!         file.get_tensor(name) for name in ("mean", "standard_deviation", "weights", "bias"))
//! z = (x - mean) / deviation @ weights + bias  # x: samples × features, in the order of about["features"]
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::format::{Format, Tensor, Tensors, load};
use super::regression::Affine;
use super::training::About;
use super::{
    DenseLayer, FittedLinear, FittedLogistic, FittedNetwork, Layers, Model, Scale, Scaler, Training,
};
use crate::data::{Encoding, Output, repeated};
use crate::engine::Activation;
use crate::{Error, Result};

/// What a model file is.
const FORMAT: Format = Format { version: 2, name: "model file", remedy: "train the model again" };
/// The kinds of models.
const KINDS: [&str; 3] = ["linear", "logistic", "network"];

#[derive(Serialize, Deserialize)]
struct Metadata {
    features: Vec<String>,
    encoding: Encoding,
    target: String,
    scale: Scale,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<String>,
    training: Training,
}

impl Metadata {
    fn of(about: &About, classes: Option<&[String]>) -> Self {
        Metadata {
            features: about.features().to_vec(),
            encoding: about.encoding.clone(),
            target: about.target.clone(),
            scale: about.scaler.scale(),
            classes: classes.map(<[String]>::to_vec),
            layers: None,
            training: about.training.clone(),
        }
    }
}

impl Model {
    /// Writes the model to a file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; what was there before is there still.
    pub fn save(&self, output: &Output) -> Result<()> {
        output.write(&self.to_bytes()?)
    }

    /// Reads a model of any kind that [`Model::save`] wrote: bit for bit the same, but for the history of costs, which is not in
    /// the file.
    ///
    /// # Errors
    /// The file cannot be read, is cut short, is no model of this crate's, has another version or kind of model, or
    /// its contents do not fit together.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        load(path, |bytes| parse(bytes, &KINDS), |problem| Error::Model { path: path.to_owned(), problem })
    }

    /// The bytes that [`Model::save`] writes.
    ///
    /// # Errors
    /// The names take more than 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let (about, affine) = match self {
            Model::Linear(FittedLinear { about, affine }) => (about, affine),
            Model::Logistic(FittedLogistic { about, affine, .. }) => (about, affine),
            Model::Network(network) => return network_to_bytes(network),
        };
        let (n, k) = (about.features().len(), affine.bias.len());
        let tensors = [
            Tensor::new("weights", &[n, k], &affine.weights),
            Tensor::vector("bias", &affine.bias),
            Tensor::vector("mean", about.scaler.mean()),
            Tensor::vector("standard_deviation", about.scaler.standard_deviation()),
        ];
        FORMAT.to_bytes(self.kind(), &Metadata::of(about, self.classes()), &tensors)
    }

    /// As [`Model::load`], from the file's bytes.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(bytes, &KINDS).map_err(given)
    }
}

fn network_to_bytes(network: &FittedNetwork) -> Result<Vec<u8>> {
    let about = &network.about;
    let mut tensors = vec![
        Tensor::vector("mean", about.scaler.mean()),
        Tensor::vector("standard_deviation", about.scaler.standard_deviation()),
    ];
    for (l, layer) in network.dense_layers().iter().enumerate() {
        let shape = [layer.inputs(), layer.units()];
        tensors.push(Tensor::new(format!("layer.{l}.weights"), &shape, layer.weights()));
        tensors.push(Tensor::vector(format!("layer.{l}.bias"), layer.bias()));
    }
    let metadata = Metadata::of(about, network.classes());
    FORMAT.to_bytes("network", &Metadata { layers: Some(network.layers().to_string()), ..metadata }, &tensors)
}

fn given(problem: String) -> Error {
    Error::Model { path: PathBuf::from("the bytes given"), problem }
}

/// What files are for a model of one kind.
macro_rules! file_methods {
    ($model:ident, $kind:literal, $variant:path) => {
        impl $model {
            /// As [`Model::save`].
            ///
            /// # Errors
            /// As [`Model::save`].
            pub fn save(&self, output: &Output) -> Result<()> {
                Model::from(self.clone()).save(output)
            }

            /// As [`Model::load`], of this kind of model alone.
            ///
            /// # Errors
            /// As [`Model::load`].
            pub fn load(path: impl AsRef<Path>) -> Result<Self> {
                let path = path.as_ref();
                load(path, Self::parse, |problem| Error::Model { path: path.to_owned(), problem })
            }

            /// As [`Model::to_bytes`].
            ///
            /// # Errors
            /// As [`Model::to_bytes`].
            pub fn to_bytes(&self) -> Result<Vec<u8>> {
                Model::from(self.clone()).to_bytes()
            }

            /// As [`Model::from_bytes`], of this kind of model alone.
            ///
            /// # Errors
            /// As [`Model::load`].
            pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
                Self::parse(bytes).map_err(given)
            }

            fn parse(bytes: &[u8]) -> Result<Self, String> {
                match parse(bytes, &[$kind])? {
                    $variant(model) => Ok(model),
                    other => Err(format!("this is a model of kind {:?}", other.kind())),
                }
            }
        }
    };
}

file_methods!(FittedLinear, "linear", Model::Linear);
file_methods!(FittedLogistic, "logistic", Model::Logistic);
file_methods!(FittedNetwork, "network", Model::Network);

/// A model of one of `kinds`.
fn parse(bytes: &[u8], kinds: &[&'static str]) -> Result<Model, String> {
    let (kind, metadata, tensors): (_, Metadata, _) = FORMAT.read(kinds, bytes)?;
    let (classes, layers) = (metadata.classes.clone(), metadata.layers.clone());
    let about = about(metadata, &tensors)?;
    match (kind, classes) {
        ("network", classes) => {
            let layers = layers.ok_or_else(|| FORMAT.damaged("a network without layers"))?;
            network(about, classes, &layers, &tensors).map(Model::Network)
        }
        ("linear", None) => Ok(Model::Linear(FittedLinear { affine: affine(&about, &tensors, 1)?, about })),
        ("logistic", Some(classes)) => {
            check_classes(&classes)?;
            let columns = if classes.len() == 2 { 1 } else { classes.len() };
            let affine = affine(&about, &tensors, columns)?;
            Ok(Model::Logistic(FittedLogistic { about, classes, affine }))
        }
        (kind, classes) => {
            let has = if classes.is_some() { "has" } else { "has no" };
            Err(FORMAT.damaged(format_args!("a model of kind {kind:?} that {has} classes")))
        }
    }
}

fn check_classes(classes: &[String]) -> Result<(), String> {
    if classes.len() < 2 {
        return Err(FORMAT.damaged(format_args!("it has {} classes", classes.len())));
    }
    match repeated(classes) {
        None => Ok(()),
        Some(name) => Err(FORMAT.damaged(format_args!("it has two classes named {name:?}"))),
    }
}

/// A network of these layers.
fn network(
    about: About,
    classes: Option<Vec<String>>,
    layers: &str,
    tensors: &Tensors<'_>,
) -> Result<FittedNetwork, String> {
    let layers: Layers = layers.parse().map_err(|error| FORMAT.damaged(error))?;
    if let Some(classes) = &classes {
        check_classes(classes)?;
    }
    let (units, head) = layers
        .output_for(&about.target, classes.as_ref().map(Vec::len))
        .map_err(|error| FORMAT.damaged(error))?;
    let mut inputs = about.features().len();
    let mut dense = Vec::new();
    let all = layers.hidden().iter().copied().chain([(units, Activation::Identity)]);
    for (l, (units, activation)) in all.enumerate() {
        let weights =
            tensors.numbers(&format!("layer.{l}.weights"), Some(&[inputs, units]), f32::is_finite)?;
        let bias = tensors.numbers(&format!("layer.{l}.bias"), Some(&[units]), f32::is_finite)?;
        let layer = DenseLayer::new(inputs, weights, bias, activation);
        dense.push(layer.map_err(|error| FORMAT.damaged(error))?);
        inputs = units;
    }
    Ok(FittedNetwork { about, classes, layers: dense, head })
}

/// What every model has beside its numbers.
fn about(metadata: Metadata, tensors: &Tensors<'_>) -> Result<About, String> {
    let Metadata { features, encoding, target, scale, training, .. } = metadata;
    if features != encoding.features() {
        return Err(FORMAT.damaged("its features are not those of its encoding"));
    }
    let n = Some(&[features.len()][..]);
    let mean = tensors.numbers("mean", n, in_f32)?;
    let divisor = |value: f64| in_f32(value) && value as f32 > 0.0;
    let standard_deviation = tensors.numbers("standard_deviation", n, divisor)?;
    let scaler = Scaler::from_parts(scale, mean, standard_deviation);
    let (history, validation) = (Vec::new(), Vec::new());
    Ok(About { encoding, target, scaler, training, history, validation })
}

fn affine(about: &About, tensors: &Tensors<'_>, columns: usize) -> Result<Affine, String> {
    let weights = tensors.numbers("weights", Some(&[about.features().len(), columns]), in_f32)?;
    Ok(Affine { weights, bias: tensors.numbers("bias", Some(&[columns]), in_f32)? })
}

fn in_f32(value: f64) -> bool {
    (value as f32).is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Column;
    use crate::models::{Ending, Method, Settings};

    fn about(scaler: Scaler) -> About {
        let columns = ["a", "täg,\"b\""].map(|name| Column::Number { name: name.to_owned(), fill: None });
        let training = Training {
            settings: Settings::default(),
            iterations: 1000,
            ending: Ending::Epochs,
            engine: "loop".to_owned(),
            method: Method::Direct,
            samples: 442,
            cost: 0.1 + 0.2,
            constant_features: vec!["a".to_owned()],
        };
        let encoding = Encoding::new(columns.to_vec()).unwrap();
        let (target, history, validation) = ("y".to_owned(), Vec::new(), Vec::new());
        About { encoding, target, scaler, training, history, validation }
    }

    fn model() -> FittedLinear {
        FittedLinear {
            about: about(Scaler::from_parts(Scale::ZScore, vec![1.0 / 3.0, -1e-30], vec![1e-20, 3.0])),
            affine: Affine { weights: vec![-0.1, f64::MIN_POSITIVE], bias: vec![-0.0] },
        }
    }

    fn classifier(classes: &[&str]) -> FittedLogistic {
        let columns = if classes.len() == 2 { 1 } else { classes.len() };
        let weights = (0..2 * columns).map(|i| i as f64 / 3.0).collect();
        FittedLogistic {
            about: about(Scaler::from_parts(Scale::None, vec![0.0; 2], vec![1.0; 2])),
            classes: classes.iter().map(ToString::to_string).collect(),
            affine: Affine { weights, bias: vec![-0.5; columns] },
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
        assert!(read.bias().is_sign_negative());
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn a_classifier_comes_back_bit_for_bit_and_is_no_regression() {
        for classes in [&["no", "yes"][..], &["0", "1", "2"]] {
            let model = classifier(classes);
            let bytes = model.to_bytes().unwrap();
            assert_eq!(FittedLogistic::from_bytes(&bytes).unwrap(), model);
            assert_eq!(Model::from_bytes(&bytes).unwrap(), Model::Logistic(model));
            let refused = FittedLinear::from_bytes(&bytes).unwrap_err().to_string();
            assert!(refused.contains("of kind \"logistic\"") && refused.contains("\"linear\""), "{refused}");
        }
        for (classes, problem) in [(&["a"][..], "1 classes"), (&["a", "a"], "two classes named \"a\"")] {
            let refused =
                Model::from_bytes(&classifier(classes).to_bytes().unwrap()).unwrap_err().to_string();
            assert!(refused.contains(problem), "{refused}");
        }
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
        assert!(text(r#"\"version\":2"#, r#"\"version\":1"#).contains("has version 1, but tilegrad"));
        assert!(text(r#"\"kind\":\"linear\""#, r#"\"kind\":\"cubic\""#).contains("of kind \"cubic\""));
        assert!(text(r#""tilegrad":"#, r#""other":"#).contains("not one that tilegrad wrote"));
        assert!(text(r#"[\"a\","#, r#"[\"a\",\"b\","#).contains("not those of its encoding"));
        assert!(text(r#"\"features\""#, r#"\"fixtures\""#).contains("missing field `features`"));
        assert!(text(r#""mean":"#, r#""median":"#).contains("`mean` not found"));
        assert!(text("F64", "I64").contains("not F64"));
        assert!(text(r#""shape":[2]"#, r#""shape":[2,1]"#).contains("not F64 [2]"));
        assert!(text(r#""shape":[2,1]"#, r#""shape":[1,2]"#).contains("not F64 [2, 1]"));
        assert!(text(r#"\"target\""#, r#"\"classes\":[],\"target\""#).contains("that has classes"));
        assert!(FittedLinear::parse(b"a,b\n1,2\n").unwrap_err().contains("no model file"));
        assert!(parse(b"a,b\n1,2\n", &KINDS).unwrap_err().contains("no model file"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        for (which, value) in
            [(0, f64::NAN), (0, f64::INFINITY), (0, 1e300), (1, f64::NAN), (2, 0.0), (2, -1.0)]
        {
            let mut model = model();
            match which {
                0 => model.affine.weights[1] = value,
                1 => model.affine.bias[0] = value,
                _ => model.about.scaler = Scaler::from_parts(Scale::ZScore, vec![0.0; 2], vec![1.0, value]),
            }
            assert!(
                FittedLinear::parse(&model.to_bytes().unwrap()).unwrap_err().contains("damaged"),
                "{value}"
            );
        }
    }
}

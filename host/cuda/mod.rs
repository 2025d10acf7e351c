//! CUDA through `cust`, which only this module names.

/// An error of the CUDA driver.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

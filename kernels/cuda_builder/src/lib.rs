//! Compiles the kernels to PTX with rustc's NVPTX target.

//! The names of files that a repository packs, and of files that programs load or run.

use std::collections::HashSet;

/// How the names of files end that are packed.
pub(super) const SAFETENSORS: &str = ".safetensors";
/// How the names of packed files end.
pub(super) const AT1W: &str = ".at1w";

/// How the names of files end that programs load weights from, or run, and whether they hold
/// weights.
pub(super) const LOADED: [(&str, bool); 38] = [
    (SAFETENSORS, true),
    (AT1W, true),
    (".bin", true),
    (".ckpt", true),
    (".dll", false),
    (".dylib", false),
    (".engine", true),
    (".exe", false),
    (".ggml", true),
    (".gguf", true),
    (".h5", true),
    (".ipynb", false),
    (".jinja", false),
    (".joblib", true),
    (".js", false),
    (".keras", true),
    (".llamafile", true),
    (".mlmodel", true),
    (".msgpack", true),
    (".nemo", true),
    (".npy", true),
    (".npz", true),
    (".onnx", true),
    (".pb", true),
    (".pdmodel", true),
    (".pdparams", true),
    (".pickle", true),
    (".pkl", true),
    (".pt", true),
    (".pt2", true),
    (".pte", true),
    (".pth", true),
    (".py", false),
    (".pyc", false),
    (".pyd", false),
    (".sh", false),
    (".so", false),
    (".tflite", true),
];

/// Returns the name of a packed file for one whose name says safetensors, in any case.
pub(super) fn packed_name(path: &str) -> Option<String> {
    let stem = path.len().checked_sub(SAFETENSORS.len())?;
    let (stem, suffix) = path.split_at_checked(stem)?;
    suffix.eq_ignore_ascii_case(SAFETENSORS).then(|| format!("{stem}{AT1W}"))
}

/// Returns the name of a packed file in a repository that has the paths `taken`: it keeps its name
/// where the new one is taken.
pub(super) fn stored_name(path: &str, taken: &HashSet<&str>) -> Option<String> {
    packed_name(path).filter(|name| !taken.contains(name.as_str()))
}

/// Whether a name says what the file holds, and that it is no safetensors.
pub(super) fn says_other(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    LOADED.iter().any(|&(suffix, _)| suffix != SAFETENSORS && path.ends_with(suffix))
}

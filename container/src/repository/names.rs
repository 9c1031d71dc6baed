//! The names of files that a repository packs, and of files that programs load or run.

/// How the names of files end that are packed.
pub(super) const SAFETENSORS: &str = ".safetensors";
/// How the names of packed files end.
pub(super) const AT1W: &str = ".at1w";

/// How the names of files end that programs load weights from, or run, and whether they hold
/// weights.
pub(super) const LOADED: [(&str, bool); 25] = [
    (SAFETENSORS, true),
    (AT1W, true),
    (".bin", true),
    (".ckpt", true),
    (".dll", false),
    (".dylib", false),
    (".gguf", true),
    (".h5", true),
    (".joblib", true),
    (".keras", true),
    (".msgpack", true),
    (".npy", true),
    (".npz", true),
    (".onnx", true),
    (".pb", true),
    (".pickle", true),
    (".pkl", true),
    (".pt", true),
    (".pth", true),
    (".py", false),
    (".pyc", false),
    (".pyd", false),
    (".sh", false),
    (".so", false),
    (".tflite", true),
];

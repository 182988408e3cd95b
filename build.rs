//! Compiles what is not Rust: the change tracker that runs inside the kernel, with clang, and the messages of foreign services.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::env;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/tracking/bpf/tracker.bpf.c";
/// The third instruction set has the atomic operations; every kernel with `diskseq` knows it. Blocks stay in their order: moved about,
/// the last instruction of a loop may run on into its first without a jump, and such a loop is refused by Linux 6.1.
const ARGUMENTS: &[&str] =
    &["-target", "bpfel", "-mcpu=v3", "-O2", "-mllvm", "-disable-block-placement", "-g", "-Wall", "-Wextra", "-Werror", "-c"];

/// Where the messages are described, and by which files.
const PROTO_FOLDER: &str = "proto";
const PROTO_FILES: &[&str] = &["snapshotmetadata.proto", "csi.proto"];

fn main() -> Result<(), String> {
    tracker()?;
    messages()
}

fn tracker() -> Result<(), String> {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let folder = env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?;
    let object = PathBuf::from(folder).join("tracker.bpf.o");
    let status = Command::new(&clang).args(ARGUMENTS).arg(SOURCE).arg("-o").arg(object).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("'{clang}' could not compile {SOURCE}: {status}; what it said stands above")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("'{clang}' is missing, which compiles {SOURCE}; on Debian: apt-get install clang (or 'make setup')"))
        }
        Err(error) => Err(format!("'{clang}' cannot be started: {error}")),
    }
}

/// Servers are for tests only: what is shipped has none of these services to offer.
fn messages() -> Result<(), String> {
    println!("cargo:rerun-if-changed={PROTO_FOLDER}");
    let described = protox::compile(PROTO_FILES, [PROTO_FOLDER]).map_err(|error| format!("{PROTO_FOLDER}/: {error:?}"))?;
    let has_server = env::var_os("CARGO_FEATURE_TESTKIT").is_some();
    tonic_prost_build::configure()
        .build_server(has_server)
        .compile_fds(described)
        .map_err(|error| format!("cannot write the code for {PROTO_FOLDER}/: {error}"))
}

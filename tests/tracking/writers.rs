//! Load that never stops until it is dropped.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::rig::text;

/// One process that writes; killed when dropped.
#[derive(Debug)]
pub struct Writer(Child);

impl Writer {
    fn spawn(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    fn fio(name: &str, arguments: &[&str]) -> Self {
        // As threads, so that the one process that is killed is all there is.
        let common = ["--thread", "--time_based", "--runtime=3600", "--randrepeat=0", "--eta=never", "--refill_buffers"];
        let name = format!("--name={name}");
        Self::spawn("fio", &[&[name.as_str()], &common[..], arguments].concat())
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _may_have_ended = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Direct, buffered, and discarding writers on a bare device.
pub fn on_device(device: &Path) -> Vec<Writer> {
    let file = format!("--filename={}", text(device));
    let direct = ["--ioengine=io_uring", "--direct=1", "--iodepth=16", "--rw=randwrite", "--bsrange=4k-64k", "--rate_iops=1500"];
    let buffered = ["--ioengine=psync", "--rw=randwrite", "--bs=4k", "--rate_iops=1000", "--fsync=64"];
    let trim = ["--ioengine=psync", "--direct=1", "--rw=randtrim", "--bsrange=4k-128k", "--rate_iops=60"];
    let with = |arguments: &[&'static str]| [&[file.as_str()], arguments].concat();
    vec![Writer::fio("direct", &with(&direct)), Writer::fio("buffered", &with(&buffered)), Writer::fio("trim", &with(&trim))]
}

/// Files overwritten, mapped, made and removed on a mounted file system, and space given back.
pub fn on_mount(mount: &Path) -> Vec<Writer> {
    let folder = format!("--directory={}", text(mount));
    let direct = ["--ioengine=io_uring", "--direct=1", "--iodepth=8", "--rw=randwrite", "--bs=4k", "--size=24m", "--rate_iops=800"];
    let buffered = ["--ioengine=psync", "--rw=randwrite", "--bsrange=1k-32k", "--size=24m", "--rate_iops=800", "--fsync=32"];
    let mapped = ["--ioengine=mmap", "--rw=randwrite", "--bs=4k", "--size=16m", "--rate_iops=500"];
    let with = |arguments: &[&'static str]| [&[folder.as_str()], arguments].concat();
    let churn =
        "cd \"$0\" && mkdir -p churn && i=0 && while :; do i=$((i+1)); head -c $((i % 90 * 1000)) /dev/urandom > churn/$((i % 40));
        case $((i % 16)) in 3) rm -f churn/$((i * 7 % 40));; 5) truncate -s 5000 churn/$((i % 40));; 9) sync churn/$((i % 40));;
        12) fallocate -p -o 4096 -l 8192 churn/$((i % 40)) || :;; 15) fstrim . || :;; esac; done";
    vec![
        Writer::fio("direct", &with(&direct)),
        Writer::fio("buffered", &with(&buffered)),
        Writer::fio("mapped", &with(&mapped)),
        Writer::spawn("sh", &["-c", churn, text(mount)]),
    ]
}

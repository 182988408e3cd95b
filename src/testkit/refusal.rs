//! A kernel that refuses io_uring, as container runtimes make it do: a system-call filter on one thread.
#![expect(unsafe_code, reason = "installing a filter is a raw call")]

use std::io;

use nix::errno::Errno;
use nix::libc::{self, sock_filter, sock_fprog};

/// From now on, `io_uring_setup` fails with EPERM on the calling thread and on the threads it starts.
pub fn refuse_io_uring() -> io::Result<()> {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const NUMBER_OF_CALL: u32 = 0;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD_WORD, 0, 0, NUMBER_OF_CALL),
        step(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: five integers; without this the kernel takes filters from privileged threads only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the kernel copies the program, which outlives the call.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) })?;
    Ok(())
}

//! A tree of files that uses everything a file system can hold, the same for the same seed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, fallocate};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::syncfs;
use rustix::fs::{XattrFlags, lsetxattr};

use crate::testkit::contents::random_bytes;
use crate::testkit::dice::Dice;

/// Sizes around everything that has an edge: the room in an inode, sectors, blocks, pages.
const SIZES: &[usize] =
    &[0, 1, 59, 60, 61, 100, 155, 160, 176, 255, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 65535, 65537, 1_234_567];
/// Names in the widest directory: more than one index block can name, with 1 KiB blocks.
const WIDE: usize = 2_500;
const DEEP: usize = 60;
const STALE: &[u8] = b"stale bytes that no file may ever show. ";

/// Fills a fresh mount. What this file system cannot hold, such as a long attribute, is left out.
pub fn populate(mount: &Path, seed: u64) -> io::Result<()> {
    leave_stale_bytes(mount, 24 << 20)?;
    let steps = [sizes, sparse, fragmented, reserved, names, links, attributes, owners_and_times, nodes, wide, deep, removed];
    for (step, number) in steps.into_iter().zip(1..) {
        step(mount, seed.wrapping_mul(31).wrapping_add(number))?;
    }
    run_sync(mount)
}

/// Leaves free space full of words: a hole that shows what lies on disk betrays itself.
pub fn leave_stale_bytes(mount: &Path, bytes: usize) -> io::Result<()> {
    let words: Vec<u8> = STALE.iter().copied().cycle().take(1 << 20).collect();
    let path = mount.join("stale");
    let file = File::create(&path)?;
    for at in 0..bytes >> 20 {
        file.write_all_at(&words, (at as u64) << 20)?;
    }
    file.sync_all()?;
    fs::remove_file(path)?;
    run_sync(mount)
}

fn run_sync(mount: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(mount)?)?)
}

/// Takes what a file system refuses because it is too small or too old for it.
fn where_possible<E: Into<io::Error>>(result: Result<(), E>) -> io::Result<()> {
    const REFUSALS: &[Errno] =
        &[Errno::ENOSPC, Errno::E2BIG, Errno::EOPNOTSUPP, Errno::ENAMETOOLONG, Errno::EFBIG, Errno::EDQUOT, Errno::ERANGE];
    match result.map_err(Into::into) {
        Err(error) if error.raw_os_error().is_some_and(|code| REFUSALS.contains(&Errno::from_raw(code))) => Ok(()),
        other => other,
    }
}

fn folder(mount: &Path, name: &str) -> io::Result<PathBuf> {
    let path = mount.join(name);
    fs::create_dir(&path)?;
    Ok(path)
}

fn sizes(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "sizes")?;
    for size in SIZES {
        fs::write(folder.join(format!("{size}")), random_bytes(*size, seed ^ *size as u64))?;
    }
    Ok(())
}

fn sparse(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "sparse")?;
    let dice = Dice::new(seed);
    File::create(folder.join("nothing"))?.set_len(3 << 20)?;
    let tail = File::create(folder.join("tail"))?;
    tail.write_all_at(&random_bytes(70_001, seed), 0)?;
    tail.set_len(16 << 20)?;
    let far = File::create(folder.join("beyond 4 GiB"))?;
    for place in [12_345, (1 << 32) - 3_000, 5 << 30] {
        where_possible(far.write_all_at(&random_bytes(9_000, seed ^ place), place))?;
    }
    let scattered = File::create(folder.join("scattered"))?;
    for piece in 0..400 {
        let place = piece * 16_384 + dice.below(8_000);
        scattered.write_all_at(&random_bytes(dice.index(5_000) + 1, seed + piece), place)?;
    }
    Ok(())
}

/// Two files that grow in turns, so that neither lies in one piece.
fn fragmented(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "fragmented")?;
    let files = [File::create(folder.join("a"))?, File::create(folder.join("b"))?];
    for piece in 0..40 {
        for file in &files {
            file.write_all_at(&random_bytes(16_384, seed + piece), piece * 16_384)?;
            file.sync_data()?;
        }
    }
    Ok(())
}

fn reserved(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "reserved")?;
    let middle = File::create(folder.join("written in the middle"))?;
    where_possible(fallocate(&middle, FallocateFlags::empty(), 0, 400_000))?;
    middle.write_all_at(&random_bytes(9_000, seed), 100_000)?;
    let beyond = File::create(folder.join("beyond the end"))?;
    beyond.write_all_at(&random_bytes(12_345, seed), 0)?;
    where_possible(fallocate(&beyond, FallocateFlags::FALLOC_FL_KEEP_SIZE, 12_345, 1 << 20))?;
    let punched = File::create(folder.join("punched"))?;
    punched.write_all_at(&random_bytes(300_000, seed), 0)?;
    punched.sync_all()?;
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    where_possible(fallocate(&punched, punch, 50_000, 100_000))
}

fn names(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "names")?;
    let long = "L".repeat(255);
    let plain = ["ünïcödé-文件-🙂", "sp ace \"q' $x", "new\nline", "-dash", ".hidden", "Case", "case", &long];
    for name in plain.iter().map(|name| name.as_bytes()).chain([b"not \xff\xfe text".as_slice(), b"\x01"]) {
        fs::write(folder.join(OsStr::from_bytes(name)), random_bytes(77, seed))?;
    }
    Ok(())
}

fn links(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "links")?;
    fs::write(folder.join("first"), random_bytes(9_999, seed))?;
    fs::hard_link(folder.join("first"), folder.join("second"))?;
    fs::hard_link(folder.join("first"), mount.join("names/third"))?;
    for length in [1, 58, 59, 60, 61, 150, 300, 1_000, 1_023, 4_000, 4_095] {
        where_possible(symlink("t".repeat(length), folder.join(format!("to {length}"))))?;
    }
    Ok(())
}

fn set(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    where_possible(lsetxattr(path, name, value, XattrFlags::empty()))
}

fn attributes(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "attributes")?;
    for (name, length) in [("none", 0), ("small", 20), ("medium", 900), ("large", 3_000), ("huge", 40_000)] {
        let path = folder.join(name);
        fs::write(&path, random_bytes(3_333, seed))?;
        set(&path, "user.value", &random_bytes(length, seed))?;
    }
    let many = folder.join("many");
    fs::write(&many, b"")?;
    for number in 0..30 {
        set(&many, &format!("user.{number}.{}", "n".repeat(number * 3)), &random_bytes(number, seed))?;
    }
    // Equal blocks of attributes are shared between inodes.
    for name in ["shared 1", "shared 2"] {
        fs::write(folder.join(name), b"x")?;
        set(&folder.join(name), "user.shared", &random_bytes(600, seed))?;
    }
    set(&folder.join("small"), "trusted.by.root", b"t")?;
    set(&folder.join("small"), "security.note", b"s\0s")?;
    symlink("small", folder.join("link"))?;
    set(&folder.join("link"), "trusted.of.a.link", &random_bytes(50, seed))?;
    access_lists(&folder)
}

/// POSIX ACLs in the form of `setxattr`: user 1000 may read, group 70000 may do all.
fn access_lists(folder: &Path) -> io::Result<()> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 6] =
        [(1, 6, NOBODY), (2, 4, 1_000), (4, 5, NOBODY), (8, 7, 70_000), (16, 7, NOBODY), (32, 0, NOBODY)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permission, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permission.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let place = folder.join("listed");
    fs::create_dir(&place)?;
    set(&place, "system.posix_acl_access", &list)?;
    set(&place, "system.posix_acl_default", &list)?;
    fs::write(place.join("inherits"), b"")?;
    fs::create_dir(place.join("inherits too"))
}

fn owners_and_times(mount: &Path, _seed: u64) -> io::Result<()> {
    let folder = folder(mount, "owners and times")?;
    for (number, (uid, gid, mode)) in
        [(0, 0, 0o7777), (1_000, 100, 0o640), (70_000, 4_000_000_000, 0o2755), (65_535, 65_536, 0)].into_iter().enumerate()
    {
        let path = folder.join(format!("owner {number}"));
        fs::write(&path, b"")?;
        chown(&path, Some(uid), Some(gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let moments =
        [(-1, 5), (-2_000_000_000, 999_999_999), (0, 0), (2_147_483_648, 1), (4_102_444_800, 123_456_789), (10_000_000_000, 7)];
    for (number, (seconds, nanoseconds)) in moments.into_iter().enumerate() {
        let path = folder.join(format!("time {number}"));
        fs::write(&path, b"")?;
        let (accessed, modified) = (TimeSpec::new(seconds, nanoseconds), TimeSpec::new(seconds + 1, nanoseconds));
        utimensat(AT_FDCWD, &path, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?;
    }
    Ok(())
}

fn nodes(mount: &Path, _seed: u64) -> io::Result<()> {
    let folder = folder(mount, "nodes")?;
    let mode = Mode::from_bits_truncate(0o640);
    for (name, kind, device) in [
        ("character", SFlag::S_IFCHR, makedev(1, 3)),
        ("character, large", SFlag::S_IFCHR, makedev(500, 70_000)),
        ("block", SFlag::S_IFBLK, makedev(8, 255)),
        ("block, large", SFlag::S_IFBLK, makedev(259, 200_000)),
        ("fifo", SFlag::S_IFIFO, 0),
        ("socket", SFlag::S_IFSOCK, 0),
    ] {
        mknod(&folder.join(name), kind, mode, device)?;
    }
    Ok(())
}

/// More names than one index block holds, and gaps where names were.
fn wide(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "wide")?;
    let dice = Dice::new(seed);
    let first = folder.join("first");
    fs::write(&first, random_bytes(100, seed))?;
    for number in 0..WIDE {
        let path = folder.join(format!("{number:05} {}", "n".repeat(dice.index(120))));
        if dice.chance(100) {
            fs::write(&path, random_bytes(dice.index(90), seed))?
        } else {
            where_possible(fs::hard_link(&first, &path))?
        }
        if dice.chance(150) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn deep(mount: &Path, seed: u64) -> io::Result<()> {
    let mut path = mount.join("deep");
    for level in 0..DEEP {
        path.push(format!("{level}"));
    }
    fs::create_dir_all(&path)?;
    fs::write(path.join("bottom"), random_bytes(3_000, seed))
}

/// Freed inodes, freed blocks, and directories that became shorter.
fn removed(mount: &Path, seed: u64) -> io::Result<()> {
    let folder = folder(mount, "removed")?;
    for number in 0..60 {
        fs::write(folder.join(format!("{number}")), random_bytes(5_000, seed))?;
    }
    for number in (0..60).filter(|number| number % 3 != 0) {
        fs::remove_file(folder.join(format!("{number}")))?;
    }
    Ok(())
}

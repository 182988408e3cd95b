//! Real journals: crashed filesystems and what debugfs writes, compared block by block with what e2fsck replays.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::image::{Image, assert_same, let_e2fsck_replay};
use crate::filesystem::ext::journal::Replay;
use crate::filesystem::overlay::Patch;
use crate::testkit;
use crate::testkit::crash_image::{CrashImage, Recipe, Shutdown, shell};

const SIZE: u64 = 48 << 20;

/// Files written and synced one by one, some removed, moved and linked; the last of it not synced.
const FILES: &str = "mkdir a; i=0; while [ $i -lt 50 ]; do i=$((i+1));
    yes \"line of file $i\" | head -c $((i*777)) > a/n$i; sync a/n$i; done
    rm a/n3 a/n7; mv a/n4 a/moved; ln a/n5 a/hard; sync a/n6; rm a/n8; yes | head -c 99999 > a/late";
/// Directories that grow to many blocks, vanish, and leave their blocks to data.
const REVOKED: &str = "long=$(printf 'q%.0s' $(seq 200)); touch one; k=0; while [ $k -lt 4 ]; do k=$((k+1));
    mkdir d$k; i=0; while [ $i -lt 150 ]; do i=$((i+1)); ln one d$k/$long$i; done; sync d$k; sync .
    rm -r d$k; yes \"round $k\" | head -c 900000 > data$k; sync data$k; done";
/// Data that begins with the log's magic.
const MAGIC: &str = "i=0; while [ $i -lt 12 ]; do i=$((i+1));
    (printf '\\300\\073\\071\\230'; yes $i | head -c 4092; printf '\\300\\073\\071\\230'; yes $i | head -c 5000) > e$i; sync e$i; done";
/// More transactions than the smallest journal holds, so that it goes round.
const ROUND: &str = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); yes $i | head -c 9000 > f$((i%40)); sync f$((i%40)); done";

/// One crash: its mkfs and mount options, its work, and what must be seen in its journal.
struct Case {
    name: &'static str,
    mkfs: &'static [&'static str],
    mount: &'static str,
    work: &'static str,
    shutdown: Shutdown,
    seen: fn(&Image, &Replay) -> bool,
}

const EXT4: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4"];
const KIB: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "1024", "-J", "size=4"];
const PLAIN: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-O", "^metadata_csum,^64bit"];
const EXT3: &[&str] = &["mkfs.ext3", "-q", "-F", "-b", "4096", "-J", "size=4"];

fn anything(_: &Image, replay: &Replay) -> bool {
    replay.transactions > 0 && replay.overlay.count() > 3
}

fn revokes(image: &Image, replay: &Replay) -> bool {
    anything(image, replay) && image.void_copies() > 5
}

fn escapes(_: &Image, replay: &Replay) -> bool {
    let is_escaped = |block| matches!(replay.overlay.patch(block), Some(Patch::Bytes(_)));
    replay.overlay.units().filter(|block| is_escaped(*block)).count() > 5
}

const CASES: &[Case] = &[
    Case { name: "ext4", mkfs: EXT4, mount: "", work: FILES, shutdown: Shutdown::WithoutLog, seen: anything },
    Case { name: "log written", mkfs: EXT4, mount: "", work: FILES, shutdown: Shutdown::WithLog, seen: anything },
    Case { name: "1 KiB", mkfs: KIB, mount: "", work: FILES, shutdown: Shutdown::WithoutLog, seen: anything },
    Case { name: "no checksums", mkfs: PLAIN, mount: "", work: FILES, shutdown: Shutdown::WithoutLog, seen: anything },
    Case { name: "summed", mkfs: PLAIN, mount: "journal_checksum", work: FILES, shutdown: Shutdown::WithoutLog, seen: anything },
    Case {
        name: "summed, async",
        mkfs: PLAIN,
        mount: "journal_async_commit,data=writeback",
        work: FILES,
        shutdown: Shutdown::WithoutLog,
        seen: anything,
    },
    Case {
        name: "ext4 async",
        mkfs: EXT4,
        mount: "journal_async_commit,data=writeback",
        work: FILES,
        shutdown: Shutdown::WithoutLog,
        seen: anything,
    },
    Case { name: "ext3", mkfs: EXT3, mount: "", work: FILES, shutdown: Shutdown::WithoutLog, seen: anything },
    Case { name: "ext3 revoked", mkfs: EXT3, mount: "", work: REVOKED, shutdown: Shutdown::WithoutLog, seen: revokes },
    Case { name: "revoked", mkfs: EXT4, mount: "", work: REVOKED, shutdown: Shutdown::WithoutLog, seen: revokes },
    Case { name: "revoked data", mkfs: EXT4, mount: "data=journal", work: REVOKED, shutdown: Shutdown::WithoutLog, seen: anything },
    Case { name: "escaped", mkfs: EXT4, mount: "data=journal", work: MAGIC, shutdown: Shutdown::WithoutLog, seen: escapes },
    Case { name: "escaped ext3", mkfs: EXT3, mount: "data=journal", work: MAGIC, shutdown: Shutdown::WithLog, seen: escapes },
    Case { name: "round", mkfs: EXT4, mount: "data=journal", work: ROUND, shutdown: Shutdown::WithoutLog, seen: anything },
    Case { name: "round, 1 KiB", mkfs: KIB, mount: "data=journal", work: ROUND, shutdown: Shutdown::WithoutLog, seen: anything },
];

#[test]
fn a_crashed_filesystem_is_replayed_as_e2fsck_replays_it() {
    for case in CASES {
        let mount_options = ["commit=300", case.mount].join(",");
        let recipe = Recipe {
            mkfs: case.mkfs,
            size_bytes: SIZE,
            mount_options: mount_options.trim_end_matches(','),
            shutdown: case.shutdown,
        };
        let crashed = match CrashImage::make(&recipe, |point| shell(point, case.work)) {
            Ok(crashed) => crashed,
            Err(error) => return testkit::skip(&format!("{}: {error}", case.name)),
        };
        let image = Image::open(&crashed.path());
        let replay = image.replay();
        println!("{}: {} transactions, {} blocks", case.name, replay.transactions, replay.overlay.count());
        assert_eq!(replay.incomplete, None, "{}", case.name);
        assert!((case.seen)(&image, &replay), "{}: not what the case is for", case.name);
        let copy = crashed.copy("checked").unwrap();
        assert!(let_e2fsck_replay(&copy), "{}", case.name);
        assert_same(&image, &replay, &copy, case.name);
    }
}

/// Journals as debugfs writes them: revoked and rewritten, escaped, of several transactions, the last one without a commit.
const WRITTEN: &str = "jw -b 5000-5009 ones\njw -b 5005-5012 twos\njw -r 5003,5006\njw -r 5007\njw -b 6000-6003 magic\n\
    jw -b 5006 ones\njw -b 5100-5110 -c ones\n";

#[test]
fn what_debugfs_writes_into_a_journal_is_replayed_as_e2fsck_replays_it() {
    let mkfs: [&[&str]; 4] = [
        &["-t", "ext4", "-b", "1024", "-O", "64bit"],
        &["-t", "ext4", "-b", "1024", "-O", "^64bit"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "64bit"],
    ];
    for options in mkfs {
        for open in ["jo", "jo -c", "jo -c -v 2", "jo -c -v 3"] {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("image");
            if let Err(why) = write_journal(&path, options, open) {
                return testkit::skip(&why);
            }
            let image = Image::open(&path);
            let replay = image.replay();
            let name = format!("{options:?}, {open}");
            println!("{name}: {} transactions, {} blocks", replay.transactions, replay.overlay.count());
            if replay.incomplete.is_none() {
                assert_eq!((replay.transactions, replay.overlay.count()), (6, 11 + 4), "{name}");
                assert!(matches!(replay.overlay.patch(6000), Some(Patch::Bytes(_))), "{name}");
            }
            let copy = folder.path().join("checked");
            fs::copy(&path, &copy).unwrap();
            // debugfs sums up revoke records too, which recovery does not: only with a checksum over the whole transaction.
            let is_whole = let_e2fsck_replay(&copy);
            assert_eq!(is_whole, replay.incomplete.is_none(), "{name}: {:?}", replay.incomplete);
            assert_same(&image, &replay, &copy, &name);
        }
    }
}

fn write_journal(path: &Path, options: &[&str], open: &str) -> Result<(), String> {
    let folder = path.parent().unwrap();
    File::create(path).and_then(|file| file.set_len(64 << 20)).unwrap();
    run(Command::new("mke2fs").args(["-q", "-F", "-J", "size=4"]).args(options).arg(path))?;
    fs::write(folder.join("ones"), vec![1; 11 * 4096]).unwrap();
    fs::write(folder.join("twos"), vec![2; 11 * 4096]).unwrap();
    let magic = [0xc0, 0x3b, 0x39, 0x98];
    fs::write(folder.join("magic"), magic.repeat(4096)).unwrap();
    fs::write(folder.join("commands"), format!("{open}\n{WRITTEN}jc\n")).unwrap();
    run(Command::new("debugfs").current_dir(folder).args(["-w", "-f", "commands", "image"]))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

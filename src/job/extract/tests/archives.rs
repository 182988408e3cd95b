//! Archives, with the tar of the system as the second opinion.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use super::*;
use crate::filesystem::{FileKind, FileTime, Source};
use nix::libc;
use nix::unistd::geteuid;
use rustix::fs::lgetxattr;
use std::io;

fn archive(model: &ModelFilesystem, options: ExtractOptions) -> (Vec<u8>, Result<ExtractReport, JobError>) {
    let mut out = Vec::new();
    let start = model.inode(model.root()).unwrap();
    let report = extract(model, &start, b"", &mut Archive::new(&mut out), options, &Silent, &Cancel::new());
    (out, report)
}

/// Unpacks with the system's tar.
fn unpack(scene: &Scene, archive: &[u8], more: &[&str]) {
    let path = scene.folder.path().join("archive.tar");
    fs::write(&path, archive).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-x", "-p", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "-f"])
        .arg(&path)
        .arg("-C")
        .arg(scene.target())
        .args(more);
    let output = tar.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(path).unwrap();
}

#[test]
fn an_archive_unpacks_to_the_tree_that_was_put_in() {
    let mut model = ModelFilesystem::new();
    let root = model.root_number();
    let long = [b'n'; 200];
    let directory = model.directory(root, &long);
    let file = model.file(directory, "gr\u{fc}n".as_bytes(), &vec![9; (9 << 20) + 5]);
    model.push_segment(file, 200_000, Source::Hole);
    model.append(file, b"end");
    model.entry(root, b"second", file);
    model.symlink(root, b"link", &[b't'; 300]);
    model.file(root, b"empty", b"");
    model.special(root, b"pipe", FileKind::Fifo);
    model.xattr(file, b"user.note", b"\x00binary=\n\xff");
    model.change(file, |inode| {
        (inode.links, inode.mode, inode.uid, inode.gid) = (2, 0o640, 1234, 4_000_000_000);
        inode.modified = FileTime { seconds: -1000, nanoseconds: 250_000_000 };
    });
    let (bytes, report) = archive(&model, PLAIN);
    let report = report.unwrap();
    expect(&report, &[]);
    assert_eq!((report.files, report.hard_links, report.symlinks, report.special, report.directories), (2, 1, 1, 1, 2));
    assert_eq!(bytes.len() % 10_240, 0);
    let scene = Scene::new();
    unpack(&scene, &bytes, &[]);
    let name = String::from_utf8(long.to_vec()).unwrap();
    let path = scene.at(&name).join("gr\u{fc}n");
    let content = fs::read(&path).unwrap();
    assert!(content == [vec![9; (9 << 20) + 5], vec![0; 200_000], b"end".to_vec()].concat());
    let facts = fs::metadata(&path).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.mtime(), facts.mtime_nsec()), (0o640, -1000, 250_000_000));
    assert_eq!(facts.ino(), fs::metadata(scene.at("second")).unwrap().ino());
    if geteuid().is_root() {
        assert_eq!((facts.uid(), facts.gid()), (1234, 4_000_000_000));
    }
    assert_eq!(fs::read_link(scene.at("link")).unwrap().as_os_str().len(), 300);
    assert!(fs::symlink_metadata(scene.at("pipe")).unwrap().file_type().is_fifo());
    let mut value = [0; 64];
    let length = lgetxattr(&path, "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"\x00binary=\n\xff");
}

#[test]
fn a_bad_short_file_is_left_out_and_a_bad_long_one_ends_the_archive() {
    let mut model = ModelFilesystem::new();
    let bad = model.file(model.root_number(), b"bad", &vec![1; 1 << 20]);
    model.lose(bad, Extent::new(900_000 / 4096 * 4096, 4096));
    model.file(model.root_number(), b"good", b"content");
    let (bytes, report) = archive(&model, PLAIN);
    expect(&report.unwrap(), &["Lost bad"]);
    let scene = Scene::new();
    unpack(&scene, &bytes, &[]);
    assert_eq!(listing(&scene.target()), ["good: 7 bytes"]);

    let long = model.file(model.root_number(), b"long", &vec![1; 20 << 20]);
    model.lose(long, Extent::new(15 << 20, 4096));
    let (_, report) = archive(&model, PLAIN);
    let ended = report.unwrap_err();
    assert!(ended.to_string().contains("the archive ends within long"), "{ended}");
    let (bytes, report) = archive(&model, ExtractOptions { partial: true, ..PLAIN });
    expect(&report.unwrap(), &["Partial bad", "Partial long"]);
    let scene = Scene::new();
    unpack(&scene, &bytes, &[]);
    assert_eq!(fs::metadata(scene.at("long")).unwrap().len(), 20 << 20);
}

#[test]
fn a_writer_that_fails_ends_it() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut model = ModelFilesystem::new();
    model.file(model.root_number(), b"f", &vec![1; 6 << 20]);
    let start = model.inode(model.root()).unwrap();
    let ended = extract(&model, &start, b"", &mut Archive::new(&mut Full), PLAIN, &Silent, &Cancel::new()).unwrap_err();
    assert!(ended.to_string().contains("free some space"), "{ended}");
}

#[test]
fn unpacking_over_a_link_is_the_business_of_whoever_unpacks_but_names_are_plain() {
    let mut model = ModelFilesystem::new();
    let evil = model.file(model.root_number(), b"plain", b"evil");
    model.entry(model.root_number(), b"../outside", evil);
    model.entry(model.root_number(), b"..", evil);
    let (bytes, report) = archive(&model, PLAIN);
    assert_eq!(report.unwrap().findings.harm, 2);
    let scene = Scene::new();
    symlink("nowhere", scene.at("unrelated")).unwrap();
    unpack(&scene, &bytes, &[]);
    assert_eq!(fs::read(scene.folder.path().join("outside")).unwrap(), b"untouched");
    assert!(!bytes.windows(2).any(|pair| pair == b".."));
}

#[test]
fn holes_stay_holes_wherever_they_lie_and_cost_nothing() {
    for shape in ["", "d", "h", "hd", "dh", "hdhdh", "dhi", "dhdp"] {
        let mut model = ModelFilesystem::new();
        let file = model.file(model.root_number(), &[b'n'; 120], b"");
        for part in shape.bytes() {
            match part {
                b'd' => model.append(file, &vec![5; 70_000]),
                b'h' => model.push_segment(file, (64 << 20) + 4096, Source::Hole),
                b'i' => model.append(file, b"an odd end"),
                _ => model.lose(file, Extent::new(4096, 8192)),
            }
        }
        let (bytes, report) = archive(&model, ExtractOptions { partial: true, ..PLAIN });
        assert_eq!(report.unwrap().files, 1);
        assert!(bytes.len() < 1 << 20, "{shape}: {} bytes", bytes.len());
        let scene = Scene::new();
        unpack(&scene, &bytes, &[]);
        let unpacked = scene.at(&"n".repeat(120));
        let wanted = Scene::new();
        wanted.extract(&model, ExtractOptions { partial: true, ..PLAIN }, false).unwrap();
        let compared = Command::new("cmp").arg(&unpacked).arg(wanted.at(&"n".repeat(120))).output().unwrap();
        assert!(compared.status.success(), "{shape}: {compared:?}");
        assert!(fs::metadata(unpacked).unwrap().blocks() * 512 < 1 << 20, "{shape}");
    }
}

//! A PostgreSQL cluster that grows in free space of small pieces, several tables in turns.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore::testkit::image::run;
use nix::unistd::{User, syncfs};
use rustix::fs::{FallocateFlags, fallocate};

/// Free space lies in pieces of this length.
const PIECE_BYTES: u64 = 64 << 10;
const TABLES: usize = 6;
const ROUNDS: usize = 12;
const SETTINGS: &str = "
listen_addresses = ''
fsync = off
shared_buffers = 16MB
min_wal_size = 32MB
max_wal_size = 64MB
";

/// Where the programs of PostgreSQL are, and who runs them: it refuses to be root.
pub(crate) struct Cluster {
    programs: PathBuf,
    user: User,
}

impl Cluster {
    pub(crate) fn find() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        let programs = versions.filter(|programs| programs.join("initdb").exists() && programs.join("pgbench").exists()).max()?;
        Some(Self { programs, user: User::from_name("postgres").ok()?? })
    }

    /// Makes a cluster in `pg`, lets it grow, and stops it.
    pub(crate) fn fill(&self, mount: &Path) {
        scatter_free_space(mount);
        let [data, socket] = ["pg", "socket"].map(|name| {
            let folder = mount.join(name);
            fs::create_dir(&folder).unwrap();
            chown(&folder, Some(self.user.uid.as_raw()), Some(self.user.gid.as_raw())).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
            folder.to_str().unwrap().to_owned()
        });
        // The way there is the tester's own.
        for folder in [mount, mount.parent().unwrap()] {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        self.run("initdb", &["-D", &data, "-N", "-A", "trust", "--locale=C", "-E", "UTF8"]);
        let settings = Path::new(&data).join("postgresql.conf");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, format!("{text}{SETTINGS}unix_socket_directories = '{socket}'\n")).unwrap();
        // Descriptors that the server inherited would keep whoever waits for their end.
        self.run("pg_ctl", &["-D", &data, "-w", "-s", "-l", &format!("{data}/log"), "start"]);
        self.grow(mount, &socket);
        self.run("pg_ctl", &["-D", &data, "-w", "-s", "-m", "fast", "stop"]);
    }

    fn grow(&self, mount: &Path, socket: &str) {
        let sql = |text: &str| self.run("psql", &["-h", socket, "-q", "-d", "postgres", "-c", text]);
        self.run("pgbench", &["-h", socket, "-q", "-i", "-s", "2", "postgres"]);
        (0..TABLES).for_each(|table| sql(&format!("CREATE TABLE grows_{table} (id int PRIMARY KEY, words text)")));
        for round in 0..ROUNDS {
            for table in 0..TABLES {
                let rows = "SELECT n, repeat(md5(n::text), 8) FROM";
                let (first, last) = (round * 1000, round * 1000 + 999);
                sql(&format!("INSERT INTO grows_{table} {rows} generate_series({first}, {last}) AS n"));
            }
            self.run("pgbench", &["-h", socket, "-n", "-c", "4", "-t", "50", "postgres"]);
            sql("CHECKPOINT");
            syncfs(File::open(mount).unwrap()).unwrap();
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new("runuser");
        command.args(["-u", &self.user.name, "--"]).arg(self.programs.join(program)).args(arguments).current_dir("/");
        run(&mut command).unwrap();
    }
}

/// Fills the volume with files and removes every second one.
fn scatter_free_space(mount: &Path) {
    let folder = mount.join("filling");
    fs::create_dir(&folder).unwrap();
    let path = |number: usize| folder.join(number.to_string());
    let full = |number: &usize| {
        let file = File::create(path(*number));
        !file.is_ok_and(|file| fallocate(file, FallocateFlags::empty(), 0, PIECE_BYTES).is_ok())
    };
    let count = (0..).find(full).unwrap();
    (0..count).step_by(2).for_each(|number| fs::remove_file(path(number)).unwrap());
    syncfs(File::open(mount).unwrap()).unwrap();
}

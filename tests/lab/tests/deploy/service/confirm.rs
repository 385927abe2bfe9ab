//! Whatever ends or hinders the watchdog of an unconfirmed apply: the apply is rolled back at its deadline
//! where something lives to do it, and at the next start of a writer otherwise.
//!
//! `cargo xtask sweep --confirm` makes each case twenty times.

use std::process::Output;

use evenkeel_lab_tests::say;

use super::*;

/// How long after the deadline a rollback may take.
const LIMIT: Duration = Duration::from_secs(5);

const AFTER: &str = "version: 1
vips: [{ address: 192.0.2.1, interface: eth0 }, { address: 192.0.2.2, interface: eth0 }]
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: wrr
    forward: dr
    real_servers: [{ address: 192.0.2.11, weight: 7 }]
  - { name: new, vip: 192.0.2.2, port: 443, forward: dr, real_servers: [{ address: 192.0.2.12 }] }
";

/// What happens to the watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// All processes of its session are killed, as at the end of a session.
    Cgroup,
    Terminate,
    Kill,
    /// It may open no more files.
    NoDescriptors,
}

const HARMS: [Harm; 4] = [Harm::Cgroup, Harm::Terminate, Harm::Kill, Harm::NoDescriptors];

/// A host with or without systemd, and a spec that was applied.
struct Site {
    /// With systemd.
    director: Option<Director>,
    folder: TempDir,
    /// The daemon without systemd.
    daemon: Option<Child>,
}

impl Site {
    fn new(has_systemd: bool) -> Self {
        // The network namespace is that of process 1, but not the kernel's first one: only a process that
        // may examine process 1 finds that, and the daemon and the commands have to use the same journal.
        let more = "CapabilityBoundingSet=CAP_SYS_PTRACE\n";
        let director = has_systemd.then(|| Director::new(SPEC, more));
        if director.is_none() {
            install_program();
            fresh_namespace();
            run("ip link add eth0 up type dummy");
        }
        let site = Self { director, folder: tempfile::tempdir().unwrap(), daemon: None };
        fs::create_dir(site.path("specs")).unwrap();
        fs::write(site.path("specs/spec.yaml"), SPEC).unwrap();
        fs::write(site.path("after.yaml"), AFTER).unwrap();
        if site.director.is_none() {
            fs::create_dir(site.path("cgroup")).unwrap();
            run(&format!("mount -t cgroup2 none {}", site.path("cgroup").display()));
        }
        site.done(&format!("apply --yes {}", site.path("specs").display()));
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cgroup(&self) -> PathBuf {
        match self.director {
            Some(_) => "/sys/fs/cgroup/session".into(),
            None => self.path("cgroup/session"),
        }
    }

    fn shell(&self, script: &str) -> Output {
        let mut command = match &self.director {
            Some(director) => director.inside("sh"),
            None => Command::new("sh"),
        };
        command.args(["-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// Returns a command line of the program with the state directory of this site.
    fn line(&self, arguments: &str) -> String {
        let state = match self.director {
            Some(_) => "/var/lib/evenkeel".into(),
            None => self.path("state"),
        };
        format!("evenkeel {arguments} --state-dir {}", state.display())
    }

    #[track_caller]
    fn done(&self, arguments: &str) -> String {
        let output = self.shell(&self.line(arguments));
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Applies the other spec in a cgroup, as in a session, and returns the deadline.
    fn apply(&self, seconds: u64) -> Instant {
        let apply =
            format!("apply --yes {} --confirm {seconds}s", self.path("after.yaml").display());
        let cgroup = self.cgroup().display().to_string();
        let script = format!(
            "mkdir -p {cgroup} && echo $$ > {cgroup}/cgroup.procs && {}",
            self.line(&apply)
        );
        let output = self.shell(&script);
        assert!(output.status.success(), "{output:?}");
        Instant::now() + Duration::from_secs(seconds)
    }

    fn harm(&self, harm: Harm) {
        let watchdog = Pid::from_raw(watchdog().expect("it runs").try_into().unwrap());
        match harm {
            Harm::Cgroup => {
                let procs = self.cgroup().join("cgroup.procs").display().to_string();
                let script = format!("for process in $(cat {procs}); do kill -KILL $process; done");
                assert!(self.shell(&script).status.success());
            }
            Harm::Terminate => kill(watchdog, Signal::SIGTERM).unwrap(),
            Harm::Kill => kill(watchdog, Signal::SIGKILL).unwrap(),
            Harm::NoDescriptors => {
                run(&format!("prlimit --pid {watchdog} --nofile=3:3"));
            }
        }
    }

    fn start_daemon(&mut self) {
        match &self.director {
            Some(director) => director.done("start evenkeel.service"),
            None => {
                let watch = self.line("watch --interval 1s --listen none");
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("exec {watch} {}", self.path("specs").display()));
                command.stdout(Stdio::null()).stderr(Stdio::null());
                self.daemon = Some(command.spawn().unwrap());
            }
        }
    }

    fn stop_daemon(&mut self) {
        match &self.director {
            Some(director) => director.done("stop evenkeel.service"),
            None => {
                let mut daemon = self.daemon.take().expect("it was started");
                daemon.kill().unwrap();
                daemon.wait().unwrap();
            }
        }
    }

    /// Makes one case, and returns how long after the deadline the rollback was done; `None` if it was done
    /// by the next writer.
    fn roll_back(&mut self, harm: Harm, has_daemon: bool) -> Option<Duration> {
        let before = state();
        let deadline = self.apply(if has_daemon { 15 } else { 2 });
        assert_ne!(state(), before);
        self.harm(harm);
        if has_daemon {
            self.start_daemon();
            // Drift of what is no part of the apply is repaired meanwhile.
            run("ip addr del 192.0.2.1/32 dev eth0");
            let has_vip = || run("ip -o addr show dev eth0").contains(" 192.0.2.1/32 ");
            assert!(
                soon(deadline, has_vip),
                "{harm:?}: the VIP is not repaired before the deadline: {}",
                self.director.as_ref().map(Director::log).unwrap_or_default()
            );
            assert_ne!(state(), before, "the apply is not rolled back early");
        }
        let outlives = matches!(harm, Harm::Terminate | Harm::NoDescriptors);
        let late = if has_daemon || self.director.is_some() || outlives {
            let is_rolled_back = soon(deadline + LIMIT, || state() == before);
            let found = state();
            assert!(
                is_rolled_back,
                "{harm:?}, daemon {has_daemon}: {found}\n{before}\n{:?}",
                self.shell("systemctl list-units --all --no-pager 'evenkeel*'; ps ax")
            );
            Some(Instant::now().saturating_duration_since(deadline))
        } else {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()) + LIMIT / 5);
            assert_ne!(state(), before, "nothing lives that could roll it back");
            let stderr = self.done(&format!("apply --yes {}", self.path("specs").display()));
            assert!(stderr.contains("was not confirmed in time and was rolled back"), "{stderr}");
            assert_eq!(state(), before);
            None
        };
        if has_daemon {
            self.stop_daemon();
        }
        assert!(soon(Instant::now() + PATIENCE, || watchdog().is_none()));
        // The daemon may have read the notice.
        self.done(&format!("apply --yes {}", self.path("specs").display()));
        assert_eq!(state(), before);
        late
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if self.director.is_none() {
            run(&format!("umount {}", self.path("cgroup").display()));
        }
    }
}

fn state() -> String {
    let addresses = run("ip -br addr show dev eth0");
    format!("{}{addresses}", run("ipvsadm -Sn"))
}

/// Returns the id of the watchdog's process.
fn watchdog() -> Option<u32> {
    let is_one = |line: &str| {
        line.starts_with("/usr/bin/evenkeel\0watchdog\0")
            || line.starts_with("evenkeel\0watchdog\0")
    };
    processes().into_iter().find(|(_, line)| is_one(line)).map(|(pid, _)| pid)
}

/// Whether it is so before that time.
fn soon(end: Instant, mut is_so: impl FnMut() -> bool) -> bool {
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sweep(has_systemd: bool) {
    let times = if std::env::var_os("EVENKEEL_SWEEP").is_some() { 20 } else { 1 };
    let mut site = Site::new(has_systemd);
    for has_daemon in [false, true] {
        for harm in HARMS {
            let ends: Vec<_> = (0..times).map(|_| site.roll_back(harm, has_daemon)).collect();
            let late = ends.iter().flatten().max();
            let how = match late {
                Some(late) => format!("at most {:.1} s after the deadline", late.as_secs_f64()),
                None => "by the next writer".to_owned(),
            };
            say(&format!(
                "systemd {has_systemd}, daemon {has_daemon}, {harm:?}: rolled back {} times, {how}",
                ends.len()
            ));
        }
    }
}

#[test]
fn an_unconfirmed_apply_is_rolled_back_without_systemd() {
    sweep(false);
}

#[test]
fn an_unconfirmed_apply_is_rolled_back_with_systemd() {
    sweep(true);
}

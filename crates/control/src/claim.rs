//! What a process claims in a network namespace, so that all others see it and none without
//! privileges can claim the same: the writer's lock, a pending apply, the daemon, a client.
//!
//! A claim is the membership of a netlink socket in a set of multicast groups of `NETLINK_USERSOCK`.
//! The kernel permits a membership there only with CAP_NET_ADMIN in the user namespace that owns the
//! network namespace, the capability that evenkeel needs anyway; anyone may list the members; and a
//! membership ends with its process. Memberships belong to the network namespace, so that two
//! processes with different state directories, mount namespaces or users meet if, and only if, they
//! work on the same table.
//!
//! The set of groups is the [role](Role). The port of the socket is a random number, which is part of
//! an abstract name (unix(7)): behind it is the process that claims, which the kernel identifies. The
//! name is taken before the claim is visible, so no other process can have it.
//!
//! Weaker alternatives: an abstract name or a lock on a file of the namespace can be taken by any
//! user; a port below 1024 by every container with the usual capabilities, and by all users where
//! `net.ipv4.ip_unprivileged_port_start` is low; a file is another one in another mount namespace.

mod members;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::netlink::{SocketAddrNetlink, USERSOCK};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::abstract_socket::{Name, Owner};
use crate::peer::Process;

use members::{Member, MemberReader};

/// How many random numbers are tried: each can be in use only by chance.
const NUMBERS: usize = 16;

/// How long a claim waits for other processes that try to make the same one: one that was stopped stays.
const PATIENCE: Duration = Duration::from_millis(500);

/// A socket that is a member of none claims nothing.
const NO_GROUPS: u32 = 0;

/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lock,
    Pending,
    Daemon,
    Client,
}

/// How far an exclusive claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The process is about to look whether others have the claim.
    Trying,
    /// The process has it.
    Held,
}

/// A role that a process can claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    kind: Kind,
    /// Which one of several of this kind in a network namespace; 0 of the owner without a name. Two claims
    /// with different parts do not exclude each other. Of a named owner it is a hash of its name: owners
    /// with the same hash exclude each other, but their sockets have different names.
    part: u32,
    owner: Owned,
}

/// The name of an owner in that of a socket, with zeros after it; all zeros of the owner without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owned([u8; Self::LONGEST]);

impl Owned {
    const LONGEST: usize = 64;
    const UNNAMED: Self = Self([0; Self::LONGEST]);

    fn new(name: &str) -> Self {
        let mut bytes = [0; Self::LONGEST];
        bytes.iter_mut().zip(name.bytes()).for_each(|(byte, it)| *byte = it);
        Self(bytes)
    }

    fn name(&self) -> std::borrow::Cow<'_, str> {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::LONGEST);
        String::from_utf8_lossy(&self.0[..length])
    }
}

/// The sockets with which a role can be claimed, again and again without another descriptor. Child processes do not
/// inherit them.
#[derive(Debug)]
pub(crate) struct RoleSockets {
    role: Role,
    // Closed before the listener, so that the name is not free while the claim is still visible. It is
    // also opened after it: of a killed process, the kernel closes the highest descriptors first.
    member: OwnedFd,
    /// Behind the name of the claim.
    listener: UnixListener,
    number: u32,
    reader: MemberReader,
}

/// A claim, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Claim {
    sockets: RoleSockets,
    /// All others, listed after the claim was visible.
    others: BTreeSet<Member>,
}

/// The outcome of an attempt to claim a role.
#[derive(Debug)]
pub(crate) enum ClaimOutcome {
    Claimed(Claim),
    /// Another process, or another thread, has it.
    Taken(RoleSockets),
}

impl Role {
    /// The one process that may change the network namespace.
    pub(crate) const LOCK: Self = Self::unnamed(Kind::Lock);

    /// The watchdog of an apply that is not confirmed yet.
    pub(crate) const PENDING: Self = Self::unnamed(Kind::Pending);

    /// The daemon.
    pub(crate) const DAEMON: Self = Self::unnamed(Kind::Daemon);

    /// A client of the daemon. Not exclusive.
    pub(crate) const CLIENT: Self = Self::unnamed(Kind::Client);

    const fn unnamed(kind: Kind) -> Self {
        Self { kind, part: 0, owner: Owned::UNNAMED }
    }

    /// The same role of the owner with that name; `None` is the owner without one.
    pub(crate) fn of_owner(self, name: Option<&str>) -> Self {
        let Some(name) = name else { return self };
        // FNV-1a, folded to 20 bits: every build must choose the same part.
        let hash = name
            .bytes()
            .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let part = ((hash >> 20) ^ hash) & 0xF_FFFF;
        // 0 is the owner without a name.
        Self { part: part.max(1), owner: Owned::new(name), ..self }
    }

    /// Claims the role for the calling thread's network namespace; `None` while another process, or
    /// another thread, has it.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] without CAP_NET_ADMIN in the user namespace that owns the
    /// network namespace; or a system call fails.
    pub(crate) fn claim(self) -> io::Result<Option<Claim>> {
        Ok(match self.open()?.claim()? {
            ClaimOutcome::Claimed(claim) => Some(claim),
            ClaimOutcome::Taken(_) => None,
        })
    }

    /// Opens the sockets for claims in the calling thread's network namespace.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn open(self) -> io::Result<RoleSockets> {
        let (member, listener, number) = self.join(NO_GROUPS, Name::bind)?;
        Ok(RoleSockets { role: self, member, listener, number, reader: MemberReader::open() })
    }

    /// Claims the role beside others that have it, for a socket that `bind_name` binds to the name of
    /// the claim.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub(crate) fn claim_for<S>(
        self,
        bind_name: impl Fn(&Name) -> io::Result<Option<S>>,
    ) -> io::Result<(OwnedFd, S)> {
        let (member, socket, _) = self.join(self.groups(Stage::Held), bind_name)?;
        Ok((member, socket))
    }

    /// Binds a name and a socket with its number, which becomes a member of these groups.
    fn join<S>(
        self,
        groups: u32,
        bind_name: impl Fn(&Name) -> io::Result<Option<S>>,
    ) -> io::Result<(OwnedFd, S, u32)> {
        let flags = SocketFlags::CLOEXEC;
        for _ in 0..NUMBERS {
            let number = random()?;
            let Some(socket) = bind_name(&self.name(number))? else { continue };
            let member =
                socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(USERSOCK))?;
            // Any process may send to the groups; nothing is ever received.
            set_socket_recv_buffer_size(&member, 0)?;
            match bind(&member, &SocketAddrNetlink::new(number, groups)) {
                Ok(()) => return Ok((member, socket, number)),
                Err(Errno::ADDRINUSE) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// The names of those that have the role.
    ///
    /// # Errors
    /// The members cannot be listed.
    pub(crate) fn holders(self) -> io::Result<Vec<Name>> {
        let groups = self.groups(Stage::Held);
        let members = MemberReader::open().read()?;
        let held = members.into_iter().filter(|member| member.groups == groups);
        Ok(held.map(|member| self.name(member.port)).collect())
    }

    /// Whether the process behind this name has the role.
    ///
    /// # Errors
    /// The members cannot be listed.
    pub(crate) fn is_held_by(self, name: &Name) -> io::Result<bool> {
        Ok(self.holders()?.contains(name))
    }

    /// Finds out who has an exclusive role.
    ///
    /// # Errors
    /// The members cannot be listed.
    pub(crate) fn owner(self) -> io::Result<Owner> {
        let Some(name) = self.holders()?.pop() else { return Ok(Owner::None) };
        Ok(match name.owner() {
            // It released the role meanwhile.
            Owner::None if !self.is_held_by(&name)? => Owner::None,
            Owner::None => Owner::Process(None),
            owner => owner,
        })
    }

    fn name(self, number: u32) -> Name {
        let word = match self.kind {
            Kind::Lock => "lock",
            Kind::Pending => "pending",
            Kind::Daemon => "watch",
            Kind::Client => "client",
        };
        let owner = self.owner.name();
        let slash = if owner.is_empty() { "" } else { "/" };
        Name::new(format!("evenkeel/{word}{slash}{owner}/{number:08x}"))
    }

    /// The set of multicast groups, as the kernel shows it: a constant, the kind, the stage, and the
    /// part. Only a set that is equal counts, so other programs that use some of the groups do not.
    fn groups(self, stage: Stage) -> u32 {
        let kind = match self.kind {
            Kind::Lock => 1,
            Kind::Pending => 2,
            Kind::Daemon => 3,
            Kind::Client => 4,
        };
        let stage = match stage {
            Stage::Trying => 0,
            Stage::Held => 1,
        };
        0xE7 << 24 | kind << 21 | stage << 20 | self.part & 0xF_FFFF
    }
}

impl RoleSockets {
    /// Claims the role, as [`Role::claim`] does.
    ///
    /// # Errors
    /// As there; the sockets are closed then.
    pub(crate) fn claim(mut self) -> io::Result<ClaimOutcome> {
        // A process that sees no other member since it became one itself has the role: of two, at
        // least the later one sees the other. While several only try, the one with the smallest number
        // stays, and the others leave at once, so that one of them has the role soon.
        let Self { role, number, .. } = self;
        self.join(role.groups(Stage::Trying))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let others = self.reader.read()?.into_iter().filter(|other| other.port != number);
            let others: BTreeSet<Member> = others.collect();
            let numbers = |stage| {
                let groups = role.groups(stage);
                others.iter().filter(move |other| other.groups == groups).map(|other| other.port)
            };
            let is_held = numbers(Stage::Held).next().is_some();
            match numbers(Stage::Trying).min() {
                None if !is_held => {
                    self.join(role.groups(Stage::Held))?;
                    return Ok(ClaimOutcome::Claimed(Claim { sockets: self, others }));
                }
                Some(other) if !is_held && other > number && Instant::now() <= end => {
                    thread::sleep(PAUSE);
                }
                _ => {
                    self.join(NO_GROUPS)?;
                    return Ok(ClaimOutcome::Taken(self));
                }
            }
        }
    }

    /// Becomes a member of these groups, and of no others.
    fn join(&self, groups: u32) -> io::Result<()> {
        Ok(bind(&self.member, &SocketAddrNetlink::new(self.number, groups))?)
    }
}

impl Claim {
    /// Gives the role up, and returns the sockets for another claim.
    ///
    /// # Errors
    /// A system call fails; the sockets are closed then.
    pub(crate) fn release(self) -> io::Result<RoleSockets> {
        let Self { sockets, .. } = self;
        sockets.join(NO_GROUPS)?;
        // Those who wanted to know who had the role.
        sockets.listener.set_nonblocking(true)?;
        while sockets.listener.accept().is_ok() {}
        Ok(sockets)
    }

    /// Whether another process had that role when this claim was made.
    pub(crate) fn was_beside(&self, role: Role) -> bool {
        let groups = role.groups(Stage::Held);
        self.others.iter().any(|other| other.groups == groups)
    }

    /// The socket behind the name of the claim.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.sockets.listener
    }
}

/// Returns the process that has an exclusive role, if one has and it can be identified.
pub(crate) fn holder(role: Role) -> Option<Process> {
    match role.owner() {
        Ok(Owner::Process(process)) => process,
        Ok(Owner::None) | Err(_) => None,
    }
}

/// A random number for a claim; never 0.
fn random() -> io::Result<u32> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u32::from_ne_bytes(bytes).max(1))
}

#[cfg(test)]
impl Role {
    /// The same role for one test only: the tests share a network namespace.
    pub(crate) fn for_test(self, of: &str) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (of, std::process::id()).hash(&mut hasher);
        let part = (hasher.finish() & 0xF_FFFF) as u32;
        Self { part: part.max(1), ..self }
    }

    /// A role that another process of a test has chosen.
    pub(crate) fn with_part(self, part: u32) -> Self {
        Self { part, ..self }
    }

    pub(crate) fn part(self) -> u32 {
        self.part
    }
}

/// Whether this process may claim anything. Tests that do are skipped without.
#[cfg(test)]
pub(crate) fn may_claim() -> bool {
    let effective = rustix::thread::capabilities(None).map(|sets| sets.effective);
    effective.is_ok_and(|set| set.contains(rustix::thread::CapabilitySet::NET_ADMIN))
}

#[cfg(test)]
mod tests;

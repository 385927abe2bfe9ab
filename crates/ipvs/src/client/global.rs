//! Reads and changes what belongs to the whole namespace: timeouts, sync daemons, the version of
//! IPVS. Each call is one request.

use std::ops::ControlFlow;

use super::{Client, SentCommand};
use crate::codec::{Answer, Header, decode_info, decode_sync_daemon, decode_timeouts};
use crate::{
    CommandObject, DecodeError, Error, Info, Operation, SyncDaemon, SyncDaemonEntry, SyncState,
    Timeouts,
};

impl Client {
    /// The version of IPVS and the size of its connection table.
    ///
    /// # Errors
    /// See [`Error`]; without CAP_NET_ADMIN it is [`Error::PermissionDenied`].
    pub fn info(&mut self) -> Result<Info, Error> {
        let sent_command =
            SentCommand { operation: Operation::GetInfo, object: CommandObject::Table };
        let header = self.header();
        self.encoder.clear();
        self.encoder.get_info(header)?;
        let mut info = None;
        self.ask(sent_command, header, |payload| {
            info = Some(decode_info(payload)?);
            Ok(())
        })?;
        info.ok_or_else(|| sent_command.malformed(DecodeError::Missing("IPVS_INFO_ATTR_VERSION")))
    }

    /// The timeouts of the namespace.
    ///
    /// # Errors
    /// As [`Self::info`].
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        let sent_command =
            SentCommand { operation: Operation::GetTimeouts, object: CommandObject::Table };
        let header = self.header();
        self.encoder.clear();
        self.encoder.get_timeouts(header)?;
        let mut timeouts = None;
        self.ask(sent_command, header, |payload| {
            timeouts = Some(decode_timeouts(payload)?);
            Ok(())
        })?;
        timeouts.ok_or_else(|| {
            sent_command.malformed(DecodeError::Missing("IPVS_CMD_ATTR_TIMEOUT_TCP"))
        })
    }

    /// Sets the timeouts that are not 0; the others stay. A connection takes up its new one with
    /// its next packet.
    ///
    /// # Errors
    /// As [`Self::info`]; one that the kernel cannot count is [`RefusalReason::OutOfRange`], and then
    /// none is set.
    ///
    /// [`RefusalReason::OutOfRange`]: crate::Reason::OutOfRange
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Error> {
        let sent_command =
            SentCommand { operation: Operation::SetTimeouts, object: CommandObject::Table };
        let header = self.header();
        self.encoder.clear();
        self.encoder.set_timeouts(header, timeouts)?;
        self.act(sent_command, header)
    }

    /// The sync daemons that run, the master first: at most one of each state. A daemon
    /// keeps running, and is still listed, after its interface was deleted.
    ///
    /// # Errors
    /// As [`Self::info`].
    pub fn daemons(&mut self) -> Result<Vec<SyncDaemonEntry>, Error> {
        let sent_command =
            SentCommand { operation: Operation::GetSyncDaemons, object: CommandObject::Table };
        let header = self.header();
        self.encoder.clear();
        self.encoder.get_sync_daemons(header)?;
        let mut entries = Vec::new();
        self.ask(sent_command, header, |payload| {
            entries.push(decode_sync_daemon(payload)?.entry());
            Ok(())
        })?;
        Ok(entries)
    }

    /// Starts a sync daemon. A running one cannot be changed: stop it and start it again.
    ///
    /// The kernel fills in and adjusts values; [`Self::daemons`] shows the values in use.
    ///
    /// # Errors
    /// As [`Self::info`]. The kernel refuses when a daemon of this state runs
    /// ([`RefusalReason::Exists`]), when there is no such interface ([`RefusalReason::NoInterface`]), when a
    /// master's interface is down ([`RefusalReason::Unreachable`]) or has no IPv6 address to send to an
    /// IPv6 group from ([`RefusalReason::NoAddress`]), and when the group is not multicast or a
    /// destination has another family than its service ([`RefusalReason::Invalid`]).
    ///
    /// [`RefusalReason::Exists`]: crate::Reason::Exists
    /// [`RefusalReason::NoInterface`]: crate::Reason::NoInterface
    /// [`RefusalReason::NoAddress`]: crate::Reason::NoAddress
    /// [`RefusalReason::Unreachable`]: crate::Reason::Unreachable
    /// [`RefusalReason::Invalid`]: crate::Reason::Invalid
    pub fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), Error> {
        let object = CommandObject::SyncDaemon(daemon.state);
        let sent_command = SentCommand { operation: Operation::StartSyncDaemon, object };
        let header = self.header();
        self.encoder.clear();
        self.encoder.new_sync_daemon(header, daemon)?;
        self.act(sent_command, header)
    }

    /// Stops a sync daemon, and returns when it has stopped.
    ///
    /// # Errors
    /// As [`Self::info`]; when none of this state runs, [`RefusalReason::NoSyncDaemon`].
    ///
    /// [`RefusalReason::NoSyncDaemon`]: crate::Reason::NoSyncDaemon
    pub fn stop_daemon(&mut self, state: SyncState) -> Result<(), Error> {
        let object = CommandObject::SyncDaemon(state);
        let sent_command = SentCommand { operation: Operation::StopSyncDaemon, object };
        let header = self.header();
        self.encoder.clear();
        self.encoder.delete_sync_daemon(header, state)?;
        self.act(sent_command, header)
    }

    /// Sends one change followed by an empty message, whose acknowledgement shows that the change
    /// was processed.
    ///
    /// The change's own acknowledgement is not enough: the kernel sends none for `EINTR`, the result
    /// of stopping a thread that never ran, although the thread is stopped (`kthread_stop`,
    /// `netlink_rcv_skb`).
    fn act(&mut self, sent_command: SentCommand, header: Header) -> Result<(), Error> {
        let barrier = self.header().sequence;
        self.encoder.barrier(barrier)?;
        self.send()?;
        let mut refusal = None;
        self.receive(sent_command, |message, answer| match answer {
            Answer::Failed(failure) if message.sequence == header.sequence => {
                refusal = Some(sent_command.refused(failure));
                Ok(ControlFlow::Continue(()))
            }
            Answer::Acknowledged if message.sequence == barrier => Ok(ControlFlow::Break(())),
            _ => Ok(ControlFlow::Continue(())),
        })?;
        refusal.map_or(Ok(()), Err)
    }
}

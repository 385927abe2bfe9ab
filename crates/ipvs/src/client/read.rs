//! Reads the table. A failed reading is an error, never an empty table.

use super::{Client, SentCommand};
use crate::codec::{DestinationReply, ServiceReply, decode_destination, decode_service};
use crate::{
    CommandObject, DecodeError, DestinationEntry, Error, Operation, Refusal, RefusalReason,
    ServiceEntry, ServiceKey,
};

impl Client {
    /// All services of the namespace, in the kernel's order.
    ///
    /// The kernel unlocks the table between datagrams of 32 KiB (some sixty services), so with a
    /// concurrent writer an entry may be missing or listed twice.
    ///
    /// # Errors
    /// See [`Error`]; without CAP_NET_ADMIN it is [`Error::PermissionDenied`].
    pub fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let mut entries = Vec::new();
        self.dump_services(|reply| {
            entries.push(reply.entry()?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Shows each service to `visit` as it lies in the receive buffer: nothing is collected, and
    /// statistics are decoded only when requested.
    ///
    /// # Errors
    /// As [`Self::services`]. The services visited before an error are an incomplete reading.
    pub fn for_each_service(
        &mut self,
        mut visit: impl FnMut(ServiceReply<'_>),
    ) -> Result<(), Error> {
        self.dump_services(|reply| {
            visit(reply);
            Ok(())
        })
    }

    /// One service; `None` when there is none with this key.
    ///
    /// # Errors
    /// As [`Self::services`].
    pub fn service(&mut self, key: &ServiceKey) -> Result<Option<ServiceEntry>, Error> {
        let sent_command =
            SentCommand { operation: Operation::GetServices, object: CommandObject::Service(*key) };
        let header = self.header();
        self.encoder.clear();
        self.encoder.get_services(header, Some(key))?;
        let mut entry = None;
        let outcome = self.ask(sent_command, header, |payload| {
            entry = Some(decode_service(payload)?.entry()?);
            Ok(())
        });
        match outcome {
            Ok(()) => Ok(entry),
            Err(Error::Refused(refusal)) if is_no_service(&refusal) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A service's destinations, in the kernel's order, the one added last first.
    ///
    /// For a service that does not exist the kernel lists none: check with [`Self::service`] before
    /// drawing conclusions from an empty answer.
    ///
    /// # Errors
    /// As [`Self::services`].
    pub fn destinations(&mut self, service: &ServiceKey) -> Result<Vec<DestinationEntry>, Error> {
        let mut entries = Vec::new();
        self.dump_destinations(service, |reply| {
            entries.push(reply.entry()?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Shows each destination of a service to `visit` as it lies in the receive buffer; see
    /// [`Self::for_each_service`] and [`Self::destinations`].
    ///
    /// # Errors
    /// As [`Self::services`].
    pub fn for_each_destination(
        &mut self,
        service: &ServiceKey,
        mut visit: impl FnMut(DestinationReply<'_>),
    ) -> Result<(), Error> {
        self.dump_destinations(service, |reply| {
            visit(reply);
            Ok(())
        })
    }

    fn dump_services(
        &mut self,
        mut visit: impl FnMut(ServiceReply<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), Error> {
        let sent_command =
            SentCommand { operation: Operation::GetServices, object: CommandObject::Table };
        let header = self.header();
        self.encoder.clear();
        self.encoder.get_services(header, None)?;
        self.ask(sent_command, header, |payload| visit(decode_service(payload)?))
    }

    fn dump_destinations(
        &mut self,
        service: &ServiceKey,
        mut visit: impl FnMut(DestinationReply<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), Error> {
        let sent_command = SentCommand {
            operation: Operation::GetDestinations,
            object: CommandObject::Service(*service),
        };
        let family = service.family();
        let header = self.header();
        self.encoder.clear();
        self.encoder.get_destinations(header, service)?;
        self.ask(sent_command, header, |payload| visit(decode_destination(payload, family)?))
    }
}

fn is_no_service(refusal: &Refusal) -> bool {
    refusal.reason() == RefusalReason::NoService
}

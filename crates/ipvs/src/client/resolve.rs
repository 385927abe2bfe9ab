//! Resolves the family's number, which the kernel assigns each time the module is loaded.

use neli::FromBytesWithInput;
use neli::attr::Attribute;
use neli::consts::genl::{CtrlAttr, CtrlCmd};
use neli::consts::nl::{GenlId, NlmF};
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, NlattrBuilder};
use neli::nl::NlPayload;
use neli::types::{Buffer, GenlBuffer};

use super::{Client, SentCommand};
use crate::codec::Header;
use crate::uapi::{IPVS_GENL_NAME, IPVS_GENL_VERSION};
use crate::{CommandObject, DecodeError, EncodeError, Error, Operation, Refusal};

impl Client {
    /// Looks the family up; false when the kernel has none of the name.
    pub(super) fn resolve_family(&mut self) -> Result<bool, Error> {
        let sent_command =
            SentCommand { operation: Operation::ResolveFamily, object: CommandObject::Table };
        let header = Header { family: GenlId::Ctrl.into(), ..self.header() };
        let flags = NlmF::REQUEST | NlmF::ACK;
        let payload = NlPayload::Payload(family_request()?);
        self.encoder.clear();
        self.encoder.message(header.family, flags, header.sequence, payload)?;
        let mut number = None;
        let outcome = self.ask(sent_command, header, |payload| {
            number = Some(family_number(payload)?);
            Ok(())
        });
        match outcome {
            Ok(()) => {
                let missing = DecodeError::Missing("CTRL_ATTR_FAMILY_ID");
                self.family = number.ok_or_else(|| sent_command.malformed(missing))?;
                Ok(true)
            }
            Err(Error::Refused(Refusal { errno, .. })) if errno == nix::libc::ENOENT => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn family_request() -> Result<Genlmsghdr<CtrlCmd, CtrlAttr>, EncodeError> {
    let failed = |error: &dyn std::fmt::Display| EncodeError(error.to_string());
    let kind = AttrTypeBuilder::default()
        .nla_type(CtrlAttr::FamilyName)
        .build()
        .map_err(|error| failed(&error))?;
    let name = NlattrBuilder::default()
        .nla_type(kind)
        .nla_payload(IPVS_GENL_NAME)
        .build()
        .map_err(|error| failed(&error))?;
    GenlmsghdrBuilder::default()
        .cmd(CtrlCmd::Getfamily)
        .version(IPVS_GENL_VERSION)
        .attrs(GenlBuffer::from_iter([name]))
        .build()
        .map_err(|error| failed(&error))
}

fn family_number(payload: &[u8]) -> Result<u16, DecodeError> {
    let mut cursor = std::io::Cursor::new(payload);
    let reply = Genlmsghdr::<CtrlCmd, CtrlAttr>::from_bytes_with_input(&mut cursor, payload.len())
        .map_err(|_| DecodeError::CutAttribute)?;
    let attributes: &GenlBuffer<CtrlAttr, Buffer> = reply.attrs();
    attributes
        .iter()
        .find(|attribute| *attribute.nla_type().nla_type() == CtrlAttr::FamilyId)
        .and_then(|attribute| attribute.get_payload_as::<u16>().ok())
        .ok_or(DecodeError::Missing("CTRL_ATTR_FAMILY_ID"))
}

//! Reads numbers and names of a message, never beyond its end and never in a circle.

use crate::outcome::Failure;

/// The longest name, in bytes of its labels with their lengths.
const LONGEST_NAME: usize = 255;

/// A place in a message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let end = self.at.checked_add(count).ok_or_else(cut)?;
        let bytes = self.message.get(self.at..end).ok_or_else(cut)?;
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Failure> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Failure> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Failure> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A reader of so many bytes from here on, which may follow names to before them; this one continues
    /// after them.
    pub(crate) fn part(&mut self, count: usize) -> Result<Self, Failure> {
        let start = self.at;
        self.bytes(count)?;
        Ok(Self { message: &self.message[..self.at], at: start })
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.message.len()
    }

    /// A name, in lower case, with a dot at its end. Pointers lead backwards only, so they end.
    pub(crate) fn name(&mut self) -> Result<String, Failure> {
        let mut name = String::new();
        let mut place = self.clone();
        let mut followed = false;
        let mut taken = 0;
        // Where the labels being read began: a pointer leads to before that, so there are no circles.
        let mut start = place.at;
        loop {
            let length = place.u8()?;
            match length >> 6 {
                0 if length == 0 => break,
                0 => {
                    for byte in place.bytes(length.into())? {
                        push_byte(&mut name, *byte);
                    }
                    name.push('.');
                    taken += usize::from(length) + 1;
                    if taken >= LONGEST_NAME {
                        return Err(malformed("a name is too long"));
                    }
                }
                3 => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(place.u8()?);
                    if !followed {
                        self.at = place.at;
                        followed = true;
                    }
                    if target >= start {
                        return Err(malformed("a compressed name does not point backwards"));
                    }
                    place.at = target;
                    start = target;
                }
                _ => return Err(malformed("a label of an unknown type")),
            }
        }
        if !followed {
            self.at = place.at;
        }
        if name.is_empty() {
            name.push('.');
        }
        Ok(name)
    }
}

/// A byte of a label, as a zone file has it.
fn push_byte(name: &mut String, byte: u8) {
    match byte {
        b'.' | b'\\' => {
            name.push('\\');
            name.push(byte.into());
        }
        0x21..=0x7e => name.push(byte.to_ascii_lowercase().into()),
        _ => name.push_str(&format!("\\{byte:03}")),
    }
}

pub(crate) fn malformed(what: &str) -> Failure {
    Failure::Malformed { what: what.to_owned() }
}

fn cut() -> Failure {
    malformed("a cut message")
}

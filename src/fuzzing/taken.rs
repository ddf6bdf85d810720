//! What a fuzzer made, taken for numbers and bytes.

/// Numbers and bytes taken off the front; once all is used up, zeros and nothing.
pub(super) struct Taken<'a>(&'a [u8]);

impl<'a> Taken<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let found = self.bytes(N);
        for (place, byte) in array.iter_mut().zip(found) {
            *place = *byte;
        }
        array
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number of one byte, so that most are small and meet; or, after 255, of eight.
    pub(super) fn number(&mut self) -> u64 {
        match self.byte() {
            u8::MAX => self.u64(),
            byte => byte.into(),
        }
    }

    /// The next `length` bytes, or as many as there are.
    pub(super) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }
}

//! RSA signatures: verification only (RFC 8017 sections 8.1.2 and 8.2.2), with SHA-256.
//!
//! jwt-simple, which does the same, takes several times as long for it. The number is raised
//! with parameters that are computed once per key, and what comes out is compared with the one
//! encoding that is right, byte by byte, and never parsed: there is no second spelling of a
//! digest to be found (RFC 8017 section 8.2.2, note).
//!
//! No private key comes near here, so that nothing has to take constant time.

use std::cell::OnceCell;

use hmac_sha256::Hash;

use crate::jose::montgomery::Modulus;

/// Moduli under this size are refused (RFC 7518 section 3.3).
const MIN_BITS: usize = 2_048;
/// Larger ones are refused too: verifying would cost more than a request may.
const MAX_BITS: usize = 4_096;

const HASH_BYTES: usize = 32;

/// `DigestInfo` of SHA-256 without the digest (RFC 8017 section 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// A modulus of 2,048 to 4,096 bits. The exponent is always 65537.
#[derive(Clone)]
pub(super) struct RsaPublicKey {
    /// Big-endian, without leading zeros.
    n: Vec<u8>,
    bits: usize,
    /// Computed by the first signature: a set may have a hundred keys that sign nothing.
    modulus: OnceCell<Option<Modulus>>,
}

impl RsaPublicKey {
    /// The key of these big-endian numbers, `None` where it cannot be used. Leading zeros are
    /// tolerated: RFC 7518 section 6.3.1.1 forbids them, yet some providers send one.
    pub(super) fn from_components(n: &[u8], e: &[u8]) -> Option<Self> {
        let n = without_leading_zeros(n);
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let odd = n.last()? & 1 == 1;
        let usable =
            (MIN_BITS..=MAX_BITS).contains(&bits) && odd && without_leading_zeros(e) == [1, 0, 1];
        usable.then(|| RsaPublicKey {
            n: n.to_vec(),
            bits,
            modulus: OnceCell::new(),
        })
    }

    /// RSASSA-PKCS1-v1_5 (section 8.2.2).
    pub(super) fn verify_pkcs1(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some(encoded) = self.encoded(signature) else {
            return false;
        };
        // Section 9.2: 00 01 FF .. FF 00 DigestInfo, as long as the modulus.
        let digest = Hash::hash(message);
        let mut expected = vec![0xff; self.n.len()];
        let tail = [&[0][..], &DIGEST_INFO, &digest].concat();
        let Some(start) = expected.len().checked_sub(tail.len()) else {
            return false;
        };
        expected.truncate(start);
        expected.extend_from_slice(&tail);
        if let Some(head) = expected.first_chunk_mut() {
            *head = [0, 1];
        }
        encoded == expected
    }

    /// RSASSA-PSS with MGF1 and a salt as long as the hash, both of SHA-256 (section 8.1.2,
    /// RFC 7518 section 3.5).
    pub(super) fn verify_pss(&self, message: &[u8], signature: &[u8]) -> bool {
        self.encoded(signature)
            .is_some_and(|encoded| self.is_pss_encoding(&encoded, message))
    }

    /// EMSA-PSS-VERIFY (section 9.1.2), by the numbers of its steps.
    fn is_pss_encoding(&self, encoded: &[u8], message: &[u8]) -> bool {
        // The encoding has one bit less than the modulus; where that makes it a byte shorter,
        // the byte in front of it must be nothing (section 8.1.2, step 2c).
        let bits = self.bits - 1;
        let (front, encoded) = encoded.split_at(encoded.len() - bits.div_ceil(8));
        if front.iter().any(|byte| *byte != 0) {
            return false;
        }
        // 2. The digest of the message. 4. The last byte is 0xbc.
        let digest = Hash::hash(message);
        let Some((&0xbc, encoded)) = encoded.split_last() else {
            return false;
        };
        // 3. and 5. What is left is maskedDB and H.
        let Some((masked, h)) = encoded.split_last_chunk::<HASH_BYTES>() else {
            return false;
        };
        // 6. The bits of maskedDB beyond the encoding are zero.
        let spare = masked.len() * 8 + (HASH_BYTES + 1) * 8 - bits;
        let first_mask = 0xff_u8 >> spare;
        if masked.first().is_none_or(|first| first & !first_mask != 0) {
            return false;
        }
        // 7. and 8. Unmasked by MGF1 (appendix B.2.1).
        let mut unmasked = masked.to_vec();
        for (counter, block) in (0_u32..).zip(unmasked.chunks_mut(HASH_BYTES)) {
            let mut hash = Hash::new();
            hash.update(h);
            hash.update(counter.to_be_bytes());
            for (byte, mask) in block.iter_mut().zip(hash.finalize()) {
                *byte ^= mask;
            }
        }
        // 9. Again without the spare bits.
        if let Some(first) = unmasked.first_mut() {
            *first &= first_mask;
        }
        // 10. Zeros, a one, and 11. the salt, exactly as long as the hash.
        let Some((padding, salt)) = unmasked.split_last_chunk::<HASH_BYTES>() else {
            return false;
        };
        let Some((&1, zeros)) = padding.split_last() else {
            return false;
        };
        if zeros.iter().any(|byte| *byte != 0) {
            return false;
        }
        // 12. to 14.
        let mut hash = Hash::new();
        hash.update([0; 8]);
        hash.update(digest);
        hash.update(salt);
        hash.finalize() == *h
    }

    /// The signature raised to 65537 (RSAVP1, section 5.2.2), as long as the modulus; `None`
    /// for one of another length, or that is no number below the modulus.
    fn encoded(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.n.len() {
            return None;
        }
        let modulus = self.modulus.get_or_init(|| Modulus::new(&self.n));
        let bytes = modulus.as_ref()?.power_65537(signature)?;
        // Whole limbs: what is in front of the number is zero.
        bytes
            .get(bytes.len().checked_sub(self.n.len())?..)
            .map(<[u8]>::to_vec)
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests;

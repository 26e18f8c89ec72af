//! Powers modulo an odd number, in Montgomery form (P. L. Montgomery, Mathematics of
//! Computation 44, 1985): what verifying an RSA signature needs, and no more.
//!
//! Written out here because of its size: the general big-integer crates add 40 to 60 kB to
//! every component that verifies (ARCHITECTURE.md), this adds two. It is held to `crypto-bigint`
//! by its tests. Everything here is public, so that nothing has to take constant time; a mistake
//! could only make another number, which is then not the one right encoding.

use std::cmp::Ordering;

/// An odd modulus with what is computed once for it. Limbs are of 32 bits, lowest first: a
/// product of two and two carries fit the 64 bits that WebAssembly multiplies.
#[derive(Clone)]
pub(super) struct Modulus {
    n: Vec<u32>,
    /// `-1 / n` modulo 2^32.
    inverse: u32,
    /// The square of R, which is 2^32 to the number of limbs, modulo n.
    r_squared: Vec<u32>,
}

impl Modulus {
    /// The modulus with these big-endian bytes; `None` when it is even or begins with a zero.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let n = limbs(bytes);
        let lowest = *n.first()?;
        if lowest & 1 == 0 || bytes.first() == Some(&0) {
            return None;
        }
        // Newton's iteration doubles the bits that are right, from three.
        let mut inverse = lowest;
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2_u32.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        let mut modulus = Modulus {
            inverse: inverse.wrapping_neg(),
            r_squared: Vec::new(),
            n,
        };
        // From the highest power of two below n, by doubling, to R * 2^(2 * limbs), and by four
        // squarings, each of which takes one R away, to R * 2^(32 * limbs).
        let count = modulus.n.len();
        let highest = modulus.n.last()?.checked_ilog2()?;
        let mut power = vec![0; count];
        *power.last_mut()? = 1 << highest;
        let to_r = 32_usize.checked_sub(highest as usize)?;
        for _ in 0..to_r + 2 * count {
            modulus.double(&mut power);
        }
        for _ in 0..4 {
            power = modulus.square(&power);
        }
        modulus.r_squared = power;
        Some(modulus)
    }

    /// `base` to the power of 65537, as many bytes as there are limbs for; `None` unless `base`
    /// is below the modulus.
    pub(super) fn power_65537(&self, base: &[u8]) -> Option<Vec<u8>> {
        let mut base = limbs(base);
        base.resize(base.len().max(self.n.len()), 0);
        if base.len() > self.n.len() || compare(&base, &self.n) != Ordering::Less {
            return None;
        }
        let mut power = self.multiply(&base, &self.r_squared);
        for _ in 0..16 {
            power = self.square(&power);
        }
        // The base itself is not in Montgomery form: that takes the power out of it.
        let power = self.multiply(&power, &base);
        Some(
            power
                .iter()
                .rev()
                .flat_map(|limb| limb.to_be_bytes())
                .collect(),
        )
    }

    /// `a * b / R`.
    fn multiply(&self, a: &[u32], b: &[u32]) -> Vec<u32> {
        let mut product = vec![0; 2 * self.n.len()];
        for (at, factor) in b.iter().enumerate() {
            let (window, above) = product.split_at_mut(at + a.len());
            let carry = add_scaled(window.get_mut(at..).unwrap_or_default(), a, *factor);
            if let Some(next) = above.first_mut() {
                *next = carry;
            }
        }
        self.reduce(product)
    }

    /// `a * a / R`, with each product of two limbs computed once.
    fn square(&self, a: &[u32]) -> Vec<u32> {
        let mut product = vec![0; 2 * self.n.len()];
        let mut rest = a;
        let mut at = 1;
        while let Some((factor, higher)) = rest.split_first() {
            let (window, above) = product.split_at_mut(at + higher.len());
            let carry = add_scaled(window.get_mut(at..).unwrap_or_default(), higher, *factor);
            if let Some(next) = above.first_mut() {
                *next = carry;
            }
            rest = higher;
            at += 2;
        }
        let (mut top, mut carry) = (0, 0);
        for (pair, limb) in product.chunks_exact_mut(2).zip(a) {
            let square = u64::from(*limb) * u64::from(*limb);
            let halves = [square & 0xffff_ffff, square >> 32];
            for (limb, half) in pair.iter_mut().zip(halves) {
                let doubled = (*limb << 1) | top;
                top = *limb >> 31;
                let sum = u64::from(doubled) + half + carry;
                *limb = sum as u32;
                carry = sum >> 32;
            }
        }
        self.reduce(product)
    }

    /// `product / R`, for a product below `n * R`.
    fn reduce(&self, mut product: Vec<u32>) -> Vec<u32> {
        let count = self.n.len();
        let mut overflow = 0;
        for at in 0..count {
            let (window, above) = product.split_at_mut(at + count);
            let window = window.get_mut(at..).unwrap_or_default();
            let lowest = window.first().copied().unwrap_or_default();
            let carry = add_scaled(window, &self.n, lowest.wrapping_mul(self.inverse));
            if let Some(next) = above.first_mut() {
                let sum = u64::from(*next) + u64::from(carry) + overflow;
                *next = sum as u32;
                overflow = sum >> 32;
            }
        }
        let mut result = product.split_off(count);
        if overflow > 0 || compare(&result, &self.n) != Ordering::Less {
            self.subtract_from(&mut result);
        }
        result
    }

    fn double(&self, number: &mut [u32]) {
        let mut top = 0;
        for limb in number.iter_mut() {
            (*limb, top) = ((*limb << 1) | top, *limb >> 31);
        }
        if top > 0 || compare(number, &self.n) != Ordering::Less {
            self.subtract_from(number);
        }
    }

    fn subtract_from(&self, number: &mut [u32]) {
        let mut borrow = false;
        for (limb, n) in number.iter_mut().zip(&self.n) {
            (*limb, borrow) = limb.borrowing_sub(*n, borrow);
        }
    }
}

/// `sum += number * factor`, both of the same length; returns what is carried out of it.
fn add_scaled(sum: &mut [u32], number: &[u32], factor: u32) -> u32 {
    let factor = u64::from(factor);
    // (2^32 - 1)^2 + 2 * (2^32 - 1) is 2^64 - 1.
    let add = |sum: &mut u32, limb: u32, carry: u64| {
        let all = u64::from(limb) * factor + u64::from(*sum) + carry;
        *sum = all as u32;
        all >> 32
    };
    let (sums, last_sums) = sum.as_chunks_mut();
    let (limbs, last_limbs) = number.as_chunks();
    let mut carry = 0;
    // Four at a time: a verification is thousands of these loops.
    for ([a, b, c, d], [w, x, y, z]) in sums.iter_mut().zip(limbs) {
        carry = add(a, *w, carry);
        carry = add(b, *x, carry);
        carry = add(c, *y, carry);
        carry = add(d, *z, carry);
    }
    for (sum, limb) in last_sums.iter_mut().zip(last_limbs) {
        carry = add(sum, *limb, carry);
    }
    carry as u32
}

fn compare(a: &[u32], b: &[u32]) -> Ordering {
    a.iter().rev().cmp(b.iter().rev())
}

/// The limbs of a big-endian number.
fn limbs(bytes: &[u8]) -> Vec<u32> {
    let limb = |chunk: &[u8]| {
        chunk
            .iter()
            .fold(0, |limb, byte| limb << 8 | u32::from(*byte))
    };
    bytes.rchunks(4).map(limb).collect()
}

#[cfg(test)]
mod tests {
    use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
    use crypto_bigint::{BoxedUint, Odd};

    use super::*;
    use crate::ports::Random;
    use crate::testing::SeededRandom;

    fn by_crypto_bigint(n: &[u8], base: &[u8]) -> Vec<u8> {
        let n = Odd::new(BoxedUint::from_be_slice_vartime(n)).expect("odd");
        let parameters = BoxedMontyParams::new_vartime(n);
        let base = BoxedUint::from_be_slice(base, parameters.bits_precision()).expect("fits");
        let power = BoxedMontyForm::new(base, &parameters).pow(&BoxedUint::from(65_537_u32));
        power.retrieve().to_be_bytes().to_vec()
    }

    #[track_caller]
    fn check(n: &[u8], base: &[u8]) {
        let ours = Modulus::new(n).and_then(|modulus| modulus.power_65537(base));
        let mut ours = ours.expect("power");
        let mut theirs = by_crypto_bigint(n, base);
        // Each fills limbs of its own size.
        for number in [&mut ours, &mut theirs] {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            number.drain(..zeros);
        }
        assert_eq!(ours, theirs, "n = {n:02x?}, base = {base:02x?}");
    }

    #[test]
    fn powers_are_those_of_crypto_bigint() {
        let random = SeededRandom::new(3);
        for length in (1..24).chain([255, 256, 257, 512]) {
            for kind in 0..12 {
                let mut n = vec![0; length];
                random.fill(&mut n).expect("random");
                match kind {
                    // The largest and the smallest of their length, and long runs of ones.
                    0 => n.fill(0xff),
                    1 => {
                        n.fill(0);
                        n[0] = 1;
                    }
                    2 => n[1..].fill(0xff),
                    3 => n[..length / 2].fill(0xff),
                    _ => {}
                }
                n[0] |= u8::from(n[0] == 0);
                n[length - 1] |= 1;
                let mut base = vec![0; length];
                random.fill(&mut base).expect("random");
                for first in [0, 1, 2, 0xff] {
                    match first {
                        0 => {}
                        // One below the modulus, the smallest, and full limbs.
                        1 => {
                            base.copy_from_slice(&n);
                            base[length - 1] -= 1;
                        }
                        2 => {
                            base.fill(0);
                            base[length - 1] = 2;
                        }
                        _ => {
                            base.fill(0xff);
                            base[0] = 0;
                        }
                    }
                    if base < n {
                        check(&n, &base);
                    }
                }
            }
        }
    }

    #[test]
    fn only_an_odd_modulus_and_a_smaller_base_will_do() {
        assert!(Modulus::new(&[1, 0]).is_none());
        assert!(Modulus::new(&[0, 3]).is_none());
        assert!(Modulus::new(&[]).is_none());
        let modulus = Modulus::new(&[1, 1]).expect("odd");
        assert_eq!(
            modulus.power_65537(&[1, 0]).as_deref(),
            Some(&[0, 0, 1, 0][..])
        );
        assert!(modulus.power_65537(&[1, 1]).is_none());
        assert!(modulus.power_65537(&[1, 0, 0]).is_none());
        assert!(modulus.power_65537(&[1, 0, 0, 0, 0]).is_none());
    }
}

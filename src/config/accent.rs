//! The accent colour of the account pages, and how well people can read it.

use std::{fmt, str::FromStr};

/// The lightest and the darkest background on which the pages use the colour as text, in the light and the dark theme.
const LIGHT_PAGE: Accent = Accent([0xf6, 0xf7, 0xf9]);
const DARK_PAGE: Accent = Accent([0x1f, 0x23, 0x29]);
const WHITE: Accent = Accent([0xff; 3]);
const BLACK: Accent = Accent([0; 3]);

/// The contrast that text needs at least (WCAG 2.2, success criterion 1.4.3).
pub(super) const READABLE: f64 = 4.5;

/// A colour of sRGB, written `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accent([u8; 3]);

impl Accent {
    /// Returns the variant for the dark theme: mixed with white until it can be read on the darkest page.
    #[must_use]
    pub fn in_the_dark(self) -> Self {
        self.until_readable_on(DARK_PAGE, WHITE)
    }

    /// Returns the contrast with the light pages, 1 to 21.
    pub(super) fn contrast(self) -> f64 {
        self.contrast_with(LIGHT_PAGE)
    }

    /// Returns the nearest variant that can be read on the light pages: mixed with black.
    pub(super) fn darkened(self) -> Self {
        self.until_readable_on(LIGHT_PAGE, BLACK)
    }

    fn until_readable_on(self, page: Self, other: Self) -> Self {
        let mut variants = (0..=255).map(|share| self.mixed_with(other, share));
        variants.find(|variant| variant.contrast_with(page) >= READABLE).unwrap_or(other)
    }

    /// Mixes with another colour, of which `share` in 255 parts are taken.
    fn mixed_with(self, other: Self, share: u32) -> Self {
        let mix = |own: u8, other: u8| (u32::from(own) * (255 - share) + u32::from(other) * share) / 255;
        let mut mixed = self.0;
        for (own, other) in mixed.iter_mut().zip(other.0) {
            *own = u8::try_from(mix(*own, other)).unwrap_or(u8::MAX);
        }
        Self(mixed)
    }

    /// Returns the contrast ratio as WCAG 2.2 defines it.
    fn contrast_with(self, other: Self) -> f64 {
        let (own, other) = (self.luminance(), other.luminance());
        (own.max(other) + 0.05) / (own.min(other) + 0.05)
    }

    /// Returns the relative luminance as WCAG 2.2 defines it.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl fmt::Display for Accent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(out, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl FromStr for Accent {
    type Err = ();

    /// Fails for everything but a `#` and six hexadecimal digits.
    fn from_str(raw: &str) -> Result<Self, ()> {
        let digits = raw.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or(())?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(()); // `from_str_radix` would accept a plus sign
        }
        let value = u32::from_str_radix(digits, 16).map_err(|_| ())?;
        let [_, rgb @ ..] = value.to_be_bytes();
        Ok(Self(rgb))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("#000000", "#ffffff", 21.0)]
    #[case("#ffffff", "#ffffff", 1.0)]
    #[case("#777777", "#FFFFFF", 4.48)] // the well-known grey that just fails, and the one that just passes
    #[case("#767676", "#ffffff", 4.54)]
    #[case("#ff0000", "#ffffff", 4.0)]
    #[case("#0000ff", "#000000", 2.44)]
    fn the_contrast_is_that_of_wcag(#[case] one: Accent, #[case] other: Accent, #[case] expected: f64) {
        assert!((one.contrast_with(other) - expected).abs() < 0.005, "{}", one.contrast_with(other));
        assert!((other.contrast_with(one) - expected).abs() < 0.005);
    }

    #[rstest]
    fn other_texts_are_rejected(
        #[values("", "#", "red", "#fff", "0b57d0", "#0b57d", "#0b57d00", "#0b57dg", "#+b57d0", "#é57d0", " #0b57d0")] raw: &str,
    ) {
        assert_eq!(raw.parse::<Accent>(), Err(()), "{raw}");
    }

    #[test]
    fn a_colour_that_can_be_read_stays_as_it_is() {
        let blue: Accent = "#0B57D0".parse().unwrap();
        assert_eq!((blue.darkened(), blue.to_string().as_str()), (blue, "#0b57d0"));
        let pale: Accent = "#a8c7fa".parse().unwrap();
        assert_eq!(pale.in_the_dark(), pale);
    }

    proptest! {
        #[test]
        fn every_colour_has_a_variant_for_each_theme(rgb: [u8; 3]) {
            let (light, dark) = (Accent(rgb).darkened(), Accent(rgb).in_the_dark());
            prop_assert!(light.contrast() >= READABLE && light.contrast_with(WHITE) >= READABLE, "{light}");
            prop_assert!(dark.contrast_with(DARK_PAGE) >= READABLE && dark.contrast_with(BLACK) >= READABLE, "{dark}");
        }
    }
}

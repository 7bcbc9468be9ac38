//! Identities.

use core::fmt;
use core::str::FromStr;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Names what is already known to be one.
            #[must_use]
            pub const fn new(inner: $inner) -> Self {
                Self(inner)
            }

            /// The bytes.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = <$inner as FromStr>::Err;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

identity! {
    /// A machine, named by the address of its secp256k1 machine key.
    MachineId(Address)
}
identity! {
    /// A rental, named by the EIP-712 digest of its quote.
    RentalId(B256)
}
identity! {
    /// The hash of a validated task specification.
    SpecHash(B256)
}

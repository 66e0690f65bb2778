//! Which statements grant to the public.
//!
//! Source: AWS, "Blocking public access to your Amazon S3 storage", "The meaning of 'public'": a bucket
//! policy is public unless everything that it allows is allowed to fixed values of principals, or of
//! condition keys that stand for principals or networks.

use std::net::IpAddr;

use crate::auth::policy::condition::{Condition, Network, Operand, Quantifier, Test};
use crate::auth::policy::key::KeyName;
use crate::auth::policy::{Effect, Named, Statement};

/// Networks with shorter prefixes count as the whole world, in bits of IPv4 and IPv6.
const PREFIX_BITS_MIN: (u8, u8) = (8, 32);

pub(super) fn is_public(statement: &Statement) -> bool {
    let Some(principals) = &statement.principals else { return false };
    let is_anyone = principals.named.contains(&Named::Anyone);
    statement.effect == Effect::Allow && is_anyone && !statement.conditions.iter().any(is_fixed)
}

/// Whether a condition holds only for some fixed principals or networks.
fn is_fixed(condition: &Condition) -> bool {
    let operator = condition.operator;
    if operator.is_negated || operator.if_exists || operator.quantifier == Quantifier::All {
        return false;
    }
    let is_principal =
        matches!(condition.key.name, KeyName::UserId | KeyName::PrincipalArn | KeyName::PrincipalAccount);
    condition.operands.iter().all(|operand| match operand {
        Operand::Network(network) => condition.key.name == KeyName::SourceIp && is_narrow(network),
        Operand::Text(template) => {
            // In these two, wildcards are ordinary characters.
            let is_exact = matches!(operator.test, Test::Text | Test::TextIgnoringCase);
            is_principal && (template.is_literal() || is_exact && !template.has_variables())
        }
        Operand::Arn(parts) => is_principal && parts.len() == 6 && parts.iter().all(|part| part.is_literal()),
        _ => false,
    })
}

fn is_narrow(network: &Network) -> bool {
    match network.address {
        IpAddr::V4(_) => network.prefix_bits >= PREFIX_BITS_MIN.0,
        IpAddr::V6(_) => network.prefix_bits >= PREFIX_BITS_MIN.1,
    }
}

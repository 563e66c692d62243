//! Estimates the cost of compiling a component from its functions, without a compiler.

use super::ComponentError;
use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

/// The highest cost of one function that is compiled in the host's own process. A function at the
/// limit takes up to half a minute and a gigabyte; the loop of an interpreter has about a quarter
/// of it.
const FUNCTION_COST_MAX: u64 = 8_000_000;
/// The highest cost of all functions together, which takes up to a minute.
const COST_MAX: u64 = 32_000_000;
/// Branches alone cost their square, divided by this.
const BRANCHES_DIVISOR: u64 = 100;
/// This many nested loops double the cost of a function, twice as many triple it.
const LOOPS_DIVISOR: u64 = 8;

/// Refuses a component whose functions look too costly.
///
/// The compiler tracks each variable at each place where control flow joins. A function therefore
/// costs the product of the two, and in the end the square of the latter, more so within loops;
/// everything else costs in proportion to its bytes, whose number is bounded. The factors were
/// measured.
pub(super) fn check_cost(wasm: &[u8]) -> Result<(), ComponentError> {
    let invalid = |error: BinaryReaderError| ComponentError::Invalid(error.to_string());
    let mut sum = 0_u64;
    let mut functions = 0_u64;

    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.map_err(invalid)? else {
            continue;
        };
        let function = Function::of(&body).map_err(invalid)?;
        functions += 1;

        if function.cost() > FUNCTION_COST_MAX {
            return Err(ComponentError::CompileCost(format!(
                "its function {functions} has {} variables, {} branches and {} nested loops in {} bytes",
                function.variables, function.branches, function.loops, function.bytes
            )));
        }

        sum = sum.saturating_add(function.cost());
    }

    if sum > COST_MAX {
        return Err(ComponentError::CompileCost(format!(
            "its {functions} functions together have too many variables and branches"
        )));
    }

    Ok(())
}

/// The properties of a function that its cost depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    bytes: u64,
    variables: u64,
    branches: u64,
    /// How deeply loops are nested.
    loops: u64,
}

impl Function {
    fn of(body: &FunctionBody<'_>) -> Result<Self, BinaryReaderError> {
        let mut function = Self {
            bytes: body.range().len() as u64,
            variables: 0,
            branches: 0,
            loops: 0,
        };

        // For each open construct, whether it is a loop.
        let mut open = Vec::new();
        let mut loops = 0;

        for locals in body.get_locals_reader()? {
            function.variables += u64::from(locals?.0);
        }

        for operator in body.get_operators_reader()? {
            let operator = operator?;
            match &operator {
                Operator::Loop { .. } => {
                    open.push(true);
                    loops += 1;
                    function.loops = function.loops.max(loops);
                }
                Operator::Block { .. } | Operator::If { .. } => open.push(false),
                Operator::End => loops -= u64::from(open.pop().unwrap_or(false)),
                _ => {}
            }

            function.branches += match operator {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Br { .. }
                | Operator::BrIf { .. } => 1,
                Operator::BrTable { targets } => u64::from(targets.len()) + 1,
                _ => 0,
            };
        }

        Ok(function)
    }

    fn cost(self) -> u64 {
        // A variable that no branch sets costs nothing.
        let counted = self.variables.min(self.branches);
        let alone = self.branches / BRANCHES_DIVISOR;
        let flat = self.branches.saturating_mul(counted.saturating_add(alone));
        flat.saturating_mul(LOOPS_DIVISOR + self.loops) / LOOPS_DIVISOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(variables: u64, branches: u64, loops: u64) -> u64 {
        Function {
            bytes: 0,
            variables,
            branches,
            loops,
        }
        .cost()
    }

    #[test]
    fn slow_functions_cost_too_much_and_an_interpreter_does_not() {
        // Functions that took 10 s or more when measured.
        for (variables, branches, loops) in [
            (3000, 10_000, 0),
            (100, 30_000, 0),
            (30, 100_000, 0),
            (3000, 6000, 0),
            (1000, 2000, 1000),
        ] {
            let cost = cost(variables, branches, loops);
            assert!(cost > FUNCTION_COST_MAX, "{variables} {branches} {loops}");
        }

        assert!(cost(300, 8000, 4) < FUNCTION_COST_MAX);
        assert!(cost(30_000, 1000, 0) < FUNCTION_COST_MAX);

        // Twenty thousand functions of an ordinary size.
        assert!(cost(10, 30, 2) * 20_000 < COST_MAX);
    }
}

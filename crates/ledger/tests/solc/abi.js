// Compiles one Solidity file with solc and prints its ABI, contract by contract, as JSON.
'use strict';
const fs = require('fs');
const path = require('path');
const solc = require(require.resolve('solc', { paths: [process.cwd()] }));

const file = process.argv[2];
const name = path.basename(file);
const output = JSON.parse(solc.compile(JSON.stringify({
  language: 'Solidity',
  sources: { [name]: { content: fs.readFileSync(file, 'utf8') } },
  settings: { outputSelection: { '*': { '*': ['abi', 'evm.methodIdentifiers'] } } },
})));
const errors = (output.errors || []).filter((error) => error.severity === 'error');
if (errors.length > 0) {
  console.error(errors.map((error) => error.formattedMessage).join('\n'));
  process.exit(1);
}
const type = (input) => input.type.startsWith('tuple')
  ? `(${input.components.map(type).join(',')})${input.type.slice('tuple'.length)}`
  : input.type;
const list = (inputs) => `(${inputs.map(type).join(',')})`;
const contracts = {};
for (const [contract, compiled] of Object.entries(output.contracts[name])) {
  const of = (kind) => compiled.abi.filter((entry) => entry.type === kind);
  const ids = compiled.evm.methodIdentifiers;
  contracts[contract] = {
    functions: Object.fromEntries(of('function').map((entry) => {
      const signature = entry.name + list(entry.inputs);
      return [signature, { selector: ids[signature], returns: list(entry.outputs) }];
    })),
    events: Object.fromEntries(of('event').map((entry) => [
      entry.name + list(entry.inputs),
      { topics: 1 + entry.inputs.filter((input) => input.indexed).length },
    ])),
  };
}
process.stdout.write(JSON.stringify(contracts));

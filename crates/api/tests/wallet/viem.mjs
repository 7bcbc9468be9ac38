// An unmodified viem against a node: `run viem http://127.0.0.1:8545/rpc` says how.
//
// POUW_RPC_URL: the node. POUW_KEY: private key of a funded account. POUW_SOL: our ABI's source.
// It funds an account of its own, so that amounts can be compared to the last digit whatever else
// the node does.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  BaseError, createPublicClient, createWalletClient, defineChain, getAddress, http, parseAbi, parseEther, webSocket,
} from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';

const HOSTS = getAddress('0x0000000000000000000000000000000000706f01');
const RENTALS = getAddress('0x0000000000000000000000000000000000706f02');
const DEADLINE_MS = 60_000;

const url = process.env.POUW_RPC_URL;
const source = readFileSync(process.env.POUW_SOL, 'utf8');
const declared = (pattern) => source.match(pattern)[0].replace(';', '');
const abi = parseAbi([
  declared(/function totals\(\)[^;]*;/),
  declared(/function register\([^;]*;/),
  declared(/event Registered\([^;]*;/),
  declared(/function setUnits\([^;]*;/),
]);

const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

const chainId = await createPublicClient({ transport: http(url) }).getChainId();
const chain = defineChain({
  id: chainId,
  name: 'pouw',
  nativeCurrency: { name: 'FLUX', symbol: 'FLUX', decimals: 18 },
  rpcUrls: { default: { http: [url] } },
});
// Batching on: viem puts what is asked at once into one request.
const client = createPublicClient({ chain, transport: http(url, { batch: true }), pollingInterval: 200 });
const socket = createPublicClient({ chain, transport: webSocket(url.replace(/^http/, 'ws')) });
const funder = privateKeyToAccount(process.env.POUW_KEY);
const alice = privateKeyToAccount(generatePrivateKey());
const bob = privateKeyToAccount(generatePrivateKey());
const machine = privateKeyToAccount(generatePrivateKey());
const wallet = (account) => createWalletClient({ account, chain, transport: http(url) });
const receiptOf = (hash) => client.waitForTransactionReceipt({ hash, timeout: DEADLINE_MS });

// What is asked before a transfer.
const [height, gasPrice, tip, fees, history] = await Promise.all([
  client.getBlockNumber(),
  client.getGasPrice(),
  client.estimateMaxPriorityFeePerGas(),
  client.estimateFeesPerGas(),
  client.getFeeHistory({ blockCount: 5, rewardPercentiles: [25, 75] }),
]);
assert(gasPrice > 0n && tip > 0n && fees.maxFeePerGas > tip);
assert(history.baseFeePerGas.length >= 2);
assert.equal(history.reward.length, history.baseFeePerGas.length - 1);
console.error(`chain ${chainId} at block ${height}, gas price ${gasPrice}`);

// Subscribed before anything happens.
let sawHead, sawLog;
const head = new Promise((resolve) => { sawHead = resolve; });
const log = new Promise((resolve) => { sawLog = resolve; });
const unwatchHeads = socket.watchBlockNumber({ onBlockNumber: sawHead, onError: (error) => { throw error; } });
const unwatchLogs = socket.watchContractEvent({
  address: HOSTS, abi, eventName: 'Registered', args: { machine: machine.address },
  onLogs: (logs) => sawLog(logs[0]), onError: (error) => { throw error; },
});

// Money moves, exactly.
await receiptOf(await wallet(funder).sendTransaction({ to: alice.address, value: parseEther('30') }));
assert.equal(await client.getBalance({ address: alice.address }), parseEther('30'));
const hash = await wallet(alice).sendTransaction({ to: bob.address, value: parseEther('1.25') });
const receipt = await receiptOf(hash);
assert.equal(receipt.status, 'success');
assert.equal(receipt.from, alice.address.toLowerCase());
const paid = receipt.gasUsed * receipt.effectiveGasPrice;
assert.equal(await client.getBalance({ address: bob.address }), parseEther('1.25'));
assert.equal(await client.getBalance({ address: alice.address }), parseEther('28.75') - paid);
assert.equal(await client.getTransactionCount({ address: alice.address }), 1);

// The transaction, its block, both ways.
const transaction = await client.getTransaction({ hash });
assert.equal(transaction.type, 'eip1559');
assert.equal(transaction.blockHash, receipt.blockHash);
const block = await client.getBlock({ blockHash: receipt.blockHash, includeTransactions: true });
assert.equal(block.number, receipt.blockNumber);
assert(block.transactions.some((one) => one.hash === hash));
const same = await client.getBlock({ blockNumber: receipt.blockNumber });
assert.equal(same.hash, block.hash);
assert(same.transactions.includes(hash));
const before = await client.getBalance({ address: bob.address, blockNumber: receipt.blockNumber - 1n });
assert.equal(before, 0n);

// A legacy transaction, as older wallets send.
const legacy = await receiptOf(await wallet(alice).sendTransaction({ to: bob.address, value: 1n, type: 'legacy' }));
assert.equal(legacy.status, 'success');
assert.equal(legacy.type, 'legacy');

// The contracts: views, a call that logs, a call that is refused.
const read = await client.readContract({ address: RENTALS, abi, functionName: 'totals' });
const names = abi.find((item) => item.name === 'totals').outputs.map((output) => output.name);
const totals = Object.fromEntries(names.map((name, index) => [name, read[index]]));
const held = totals.escrows + totals.bonds + totals.stakes + totals.pool + totals.immature;
assert(totals.genesisSupply + totals.subsidies - totals.burned > held);
assert.notEqual(await client.getCode({ address: RENTALS }), undefined);
assert.equal(await client.getCode({ address: bob.address }), undefined);
const signature = await machine.signTypedData({
  domain: { name: 'pouw', version: '1', chainId, verifyingContract: RENTALS },
  types: { Registration: [{ name: 'machine', type: 'address' }, { name: 'operator', type: 'address' }] },
  primaryType: 'Registration',
  message: { machine: machine.address, operator: alice.address },
});
const registered = await receiptOf(await wallet(alice).writeContract({
  address: HOSTS, abi, functionName: 'register', value: parseEther('20'),
  args: [machine.address, 2, alice.address, alice.address, `0x${'11'.repeat(32)}`, signature],
}));
assert.equal(registered.status, 'success');
assert.equal(registered.logs.length, 1);
const events = await client.getContractEvents({
  address: HOSTS, abi, eventName: 'Registered', args: { operator: alice.address },
  fromBlock: registered.blockNumber, toBlock: 'latest',
});
assert.equal(events.length, 1);
assert.equal(events[0].args.machine, machine.address);
assert.equal(events[0].args.bond, parseEther('20'));
assert.equal(events[0].transactionHash, registered.transactionHash);
const refused = client.simulateContract({
  account: bob, address: HOSTS, abi, functionName: 'setUnits', args: [machine.address, 1],
});
await assert.rejects(refused, (error) => error instanceof BaseError && /revert/i.test(error.message));

// What cannot be sent says so, in words that viem knows.
const poor = privateKeyToAccount(generatePrivateKey());
const unfunded = wallet(poor).sendTransaction({ to: bob.address, value: parseEther('1') });
await assert.rejects(unfunded, (error) => /insufficient|exceeds the balance/i.test(error.message));
const again = wallet(alice).sendTransaction({ to: bob.address, value: 1n, nonce: 0, gas: 100_000n });
await assert.rejects(again, (error) => /nonce.*too low|lower than the current nonce/i.test(error.message));

// What was subscribed to came.
assert(await within(head, 'new head over WebSocket') > 0n);
const told = await within(log, 'log over WebSocket');
assert.equal(told.args.machine, machine.address);
assert.equal(await socket.getChainId(), chainId);
unwatchHeads();
unwatchLogs();
(await socket.transport.getRpcClient()).close();
console.log('ok');

/**
 * The contract of transports, over every body and kind of wire.
 */
import { inCampaign } from './campaign.ts';
import * as chance from './contract/chance.ts';
import * as closing from './contract/closing.ts';
import * as connecting from './contract/connecting.ts';
import * as connection from './contract/connection.ts';
import { KINDS } from './contract/kinds.ts';
import * as listening from './contract/listening.ts';
import * as producing from './contract/producing.ts';
import * as securing from './contract/securing.ts';
import * as states from './contract/states.ts';
import * as switching from './contract/switching.ts';
import { TLS } from './contract/tls-kind.ts';
import t from './fixture.ts';

t.setTimeout(600_000);

/** Only these, if it is said: `PLAIT_KINDS=sim,tcp`. */
const only = process.env['PLAIT_KINDS']?.split(',');

for (const kind of [...KINDS, TLS]) {
  if (only?.includes(kind.name) === false) continue;
  // A campaign plays the random rule for longer; the others are the same each time.
  if (inCampaign) {
    chance.contract(t, kind);
    continue;
  }
  const births = kind.unborn === true ? [] : [listening, connecting, securing];
  for (const { contract } of [connection, closing, producing, states, switching, chance, ...births])
    contract(t, kind);
}

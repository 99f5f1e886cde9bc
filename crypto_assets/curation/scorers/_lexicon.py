"""Words of the trade on VADER's scale, -4 to 4, its pictures, and words of everyday English that mean something else here.

Strengths follow VADER's own for their nearest English neighbours ("soared" like "triumph" 2.1, "crash" -1.7 made heavier: in
this field it means a loss). Words of amounts (rose, fell, declined) and the words set to zero were chosen by looking at one
half of the Financial PhraseBank (Malo et al. 2014) and of CryptoPanic's reader votes; the other half is for measuring
(`benchmarks/sentiment.py`).
"""

from __future__ import annotations

_STRENGTHS: dict[float, str] = {
    3.0: "moon mooning skyrocket skyrockets skyrocketed skyrocketing rocket rockets rocketed rocketing parabolic",
    2.5: "bullish surge surges surged surging soar soars soared soaring rally rallies rallied rallying breakout breakouts "
    "all-time record-high",
    2.0: "rebound rebounds rebounded jump jumps jumped climb climbs climbed outperform outperforms outperformed "
    "undervalued accumulate accumulates accumulating accumulation adoption inflow inflows halving ath pump pumps pumped "
    "uptrend recover recovers recovered recovery bounce bounces bounced wagmi rise rises rising grew grow grows grown "
    "exceed exceeds exceeded beat beats doubled doubles tripled increased increases increase record",
    1.5: "bull bulls higher narrowed expands expansion burn burns burned",
    1.0: "upgrade upgrades upgraded partnership partners listing lists unveils launches rose hodl buyback uptick green "
    "signed leading tops strengthens cooperation agreement demand up",
    0.0: "share shares sharing profit interest security securities credit value values asset assets energy respectively "
    "number solution solutions trust support well united liberty dominance legal hard block blocks fire alert pay gross",
    -1.0: "dip dips dipped slips slipped delays delayed outage stalls stalled unlock unlocks resistance red probe probes "
    "below profit-taking cautious",
    -1.5: "bear bears down halt halts halted halting suspend suspends suspended suspension widened pullback retreat "
    "retreats sheds erases freezes frozen seized",
    -2.0: "slide slides slid drop drops dropped slump slumps slumped tumble tumbles tumbled outflow outflows overvalued "
    "selloff downtrend correction delist delists delisted delisting liquidation liquidations liquidated lawsuit sues sued "
    "subpoena underperform underperforms underperformed sinks sank fud exploit exploits exploited dumps dumped dumping "
    "fall falls fell falling fallen decline declines declined declining decrease decreases decreased decreasing lower "
    "weaken weakens weakened weaker layoff layoffs lay-offs sell-off dives nosedive indicted indictment ngmi bagholder "
    "bagholders rout",
    -2.5: "bearish plunge plunges plunged plunging plummet plummets plummeted crash crashes crashed crashing capitulation "
    "breach breached hack hacks hacked hacker hackers depeg depegs depegged insolvent insolvency bankruptcy bankrupt "
    "ponzi tank tanks tanked tanking meltdown",
    -3.0: "rug rugpull rugged collapse collapses collapsed rekt bloodbath",
}
LEXICON: dict[str, float] = {word: strength for strength, words in _STRENGTHS.items() for word in words.split()}
"""Word -> strength; a word of zero is left out of the sum."""

PICTURES = {"🚀": "mooning", "🌕": "moon", "🌙": "moon", "📈": "uptrend", "📉": "downtrend", "🐂": "bullish", "🐻": "bearish"}
"""Emoji that the trade uses in a sense of its own, as words of LEXICON. The others are read as VADER describes them."""

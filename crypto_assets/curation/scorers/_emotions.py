"""Which words speak of which emotion, where money is at stake; a list of our own, matched to whole words and emoji.

No texts about crypto are labelled with emotions by people, so how well the list reads them is not known; a model
(`text_scorer = transformers`) has been trained on such labels of general English.
"""

from __future__ import annotations

_WORDS = {
    "fear": "fear fears feared fearful afraid scared scary terrified terror panic panics panicked panicking worry worries "
    "worried worrying anxious anxiety nervous jitters jittery concern concerns concerned uncertainty uncertain dread "
    "alarm alarmed alarming warn warns warned warning threat threats threatens risk risks risky danger dangerous crash "
    "crashes crashing collapse collapses capitulation contagion bloodbath meltdown turmoil fud liquidation liquidations "
    "liquidated rug rugpull insolvent insolvency bankrun volatile volatility 😱 😨 😰 😟 🩸",
    "joy": "happy happiness joy joyful glad delighted delight celebrate celebrates celebrated celebration cheer cheers "
    "excited exciting excitement enthusiasm enthusiastic euphoria euphoric optimism optimistic hope hopes hopeful love "
    "loves great wonderful excellent outstanding brilliant impressive praise praised praises proud win wins winner "
    "winning bullish moon mooning lambo wagmi fomo greed greedy ath gains profit profits rich millionaire millionaires "
    "rally rallies surge surges soar soars skyrocket skyrockets jackpot 🚀 🌕 🌙 🤑 🎉 🥳 😀 😃 😄 😁 😍 💎 🙌 🔥 📈 🐂",
    "anger": "anger angry furious fury outrage outraged outrageous rage mad hate hates hated disgust disgusted disgusting "
    "scam scams scammer scammers scammed fraud fraudster fraudsters fraudulent theft thief thieves steal steals stole "
    "stolen ponzi lawsuit lawsuits sue sues sued accuse accuses accused slam slams slammed blast blasts blasted condemn "
    "condemns condemned criticize criticizes criticized backlash corrupt corruption manipulation manipulated liar liars "
    "lies unfair attack attacks attacked 😡 🤬 😠 🖕",
    "sadness": "sad sadly sadness sorry regret regrets regretted disappointed disappointing disappointment disappoints "
    "unhappy misery miserable despair desperate hopeless grief mourn mourns cry crying tears pain painful suffer suffers "
    "suffered suffering hurt hurts loss losses lost lose loses losing loser losers failure failed fails fail bankrupt "
    "bankruptcy rekt bagholder bagholders ngmi depressed depressing depression gloom gloomy tired dull 😢 😭 😞 😔 💔",
    "surprise": "surprise surprises surprised surprising surprisingly shock shocks shocked shocking stun stuns stunned "
    "stunning unexpected unexpectedly sudden suddenly abrupt abruptly astonishing astonished amazed amazing unprecedented "
    "unbelievable incredible wow whoa omg unreal bombshell strange twist 😲 😮 🤯 😯",
}
EMOTION_OF: dict[str, tuple[str, ...]] = {}
"""Word or emoji -> the emotions it speaks of."""
for _emotion, _words in _WORDS.items():
    for _word in _words.split():
        EMOTION_OF[_word] = (*EMOTION_OF.get(_word, ()), _emotion)

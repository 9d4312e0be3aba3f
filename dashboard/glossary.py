"""The words of the dashboard, one definition each."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "recall@k": "Share of users whose next item is among the first k of the list. With one right "
    "answer a user this is the hit rate.",
    "ndcg@k": "Like recall@k, but a hit counts 1 / log2(rank + 1): 1 on the first place, 0.63 on "
    "the second, 0.29 on the tenth. A mean over users, from 0 to 1.",
    "mrr@k": "Like recall@k, but a hit counts 1 / rank.",
    "static": "Semantic IDs are made first, from what is known of the items (their text, who uses "
    "them), and frozen; then the recommender is trained on them. The baseline.",
    "differentiable": "Tokenizer and recommender are trained together: the recommendation loss "
    "reaches the codebooks, so the semantic IDs can change to be easier to recommend with.",
    "detached": "The tokenizer trains on beside the recommender by its own losses; no gradient of "
    "the recommendation loss reaches it.",
    "shuffled": "A control: no tokenizer trains; items change codes at random, as many and as "
    "often as in joint training.",
    "reassigned": "A control: no tokenizer trains; now and then each item takes, of the codes "
    "nearest to its content, those under which the recommender expects it most where it was a "
    "target.",
    "ste": "Differentiable with a plain straight-through estimator: no noise, no soft update.",
    "sasrec": "A baseline without semantic IDs: a causal transformer over items that scores every "
    "item by its own embedding.",
    "popularity": "A baseline: the same list for everyone, items by their number of training "
    "events.",
    "SID": "Semantic ID: the name of an item as a few codes, one a level, and a suffix that tells "
    "apart items with equal codes. Written 12-200-7-0.",
    "arm": "Method, decay and noise. Two runs are seeds of one arm only if everything else is the "
    "same: data, recipe, backbone, decoding.",
    "lift": "Change of a mean relative to the baseline: arm / baseline - 1.",
    "interval": "95 % interval that p goes with. It spans a bootstrap over seeds, then users, both "
    "arms keeping the same, and a t-interval over the seeds' differences. With few seeds it is a "
    "guide, so every seed's difference is shown; with one seed or two there is none.",
    "verdict": "Better or worse only if the Holm-adjusted p is at most 0.05, at least 3 seeds "
    "stand behind it, and every seed points the same way. p is the larger of the bootstrap's and "
    "of a t-test over the seeds' differences.",
    "Holm": "Correction for making several claims: the family is one claim a real dataset, the "
    "arm chosen on validation before the test split is read.",
    "randomisation test": "Signs of the users' differences are drawn anew. Its p is about these "
    "trained models, not about the method: another seed may turn the result around.",
    "decoding": "How a list is made. Ours is beam search within the catalogue; published figures "
    "are mostly beam search without that constraint, so the two are not compared.",
    "leave-one-out": "A user's last event is the test, the one before it the validation, the rest "
    "is for training. All items are candidates, also those seen before.",
    "simulated": "Data drawn by a program. Good for trying the tools; it never counts in a "
    "verdict.",
    "cold": "A target that does not occur in training.",
    "coverage@k": "Share of the catalogue that is among the first k of at least one user.",
    "head share@k": "Share of the first k places held by the most popular 20 % of items.",
    "overlap": "Share of the first k items that two lists have in common. Two seeds of one arm "
    "are the yardstick.",
    "won and lost": "Users whose target only the arm (won) or only the baseline (lost) has among "
    "the first 10.",
    "epoch": "One pass over the training histories. The selected epoch, marked on the curves, is "
    "the one with the best validation ndcg@10.",
    "loss": "Cross-entropy in nats, a mean over code positions. A low loss alone is no sign of "
    "quality: collapsed codes are easy to predict.",
    "noise scale": "Mean factor on the Gumbel noise that explores other codes in training.",
    "hot share": "Share of item-levels on a hot code, one used more than r times its fair share; "
    "FrqUD puts noise on those only.",
    "agreement": "Share of the codes in training that are the nearest codewords at that moment. "
    "Where training reads the SIDs of the last refresh, it is how little the tokenizer moved on.",
    "explored": "Share of codes for which the noise draws another one than the nearest.",
    "effective codes": "Perplexity: exp of the entropy of how items are spread over a level's "
    "codes; the number of evenly used codes that would carry as much information.",
    "dead codes": "Codes of a level that no item has.",
    "information": "Mutual information between a history and the first code of the next item, in "
    "nats: at least the code's entropy over training events less the loss at it.",
    "collisions": "Items that share all codes with another item and are told apart by the suffix.",
    "drift": "Share of items with another SID than at the start of joint training, suffix aside. "
    "Zero drift means that differentiable equals static by construction.",
    "head and tail": "The most popular fifth of the catalogue (by training events), and the rest.",
    "seconds an epoch": "Of the fastest epoch of training, without validation, on the hardware "
    "named.",
    "seconds": "Wall-clock seconds to make the model (tokenizer and training, without "
    "evaluation), on the hardware named.",
    "memory": "Peak memory of the process, or of the GPU where there is one.",
    "parameters": "Trained numbers of tokenizer and recommender.",
    "TPME": "Composite cost of the IISAN papers (arXiv 2404.02059): 0.45 time + 0.10 parameters + "
    "0.45 memory, each scaled to 0..1 over the arms compared. Lower is cheaper; it ranks the arms "
    "of one table and nothing else.",
    "Pareto front": "Arms that no other arm beats in quality without costing more.",
    "collision-corrected": "The metric expected if items that share their codes were in random "
    "order, so that the suffix brings nobody luck.",
}

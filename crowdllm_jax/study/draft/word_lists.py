"""Answers that are lists of words from the lowest to the highest: how often, how good, how much."""

import re
import unicodedata
from functools import lru_cache

_ALIKE = (("’", "'"), ("ı", "i"), ("当て", "あて"), ("全く", "まったく"), ("時々", "ときどき"))
"""Spellings of one word."""


@lru_cache(maxsize=1 << 15)  # names and answers come again and again
def folded(text: str) -> str:
    """A text in lower case, without accents and signs; words apart by one space."""
    for sign, plainer in _ALIKE:
        text = text.replace(sign, plainer)
    plain = unicodedata.normalize("NFD", text.casefold().replace("ł", "l"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    # A text of nothing but signs, such as a face, is none but itself.
    return " ".join(re.sub(r"[\W_]+", " ", plain.replace("'", " ")).split()) or text.strip()


def _list(text: str) -> dict[str, int]:
    """Words with their rank: apart by `<` from lowest to highest, by `/` where they mean one."""
    return {
        folded(word): rank
        for rank, words in enumerate(text.split("<"))
        for word in words.split("/")
    }


LISTS = tuple(
    map(
        _list,
        (
            "never/not at all < almost never/hardly ever/hardly at all/very rarely/very seldom < "
            "rarely/seldom < once in a while/now and then/only now and then < occasionally < "
            "sometimes/some of the time < about half the time/half of the time < "
            "often/frequently/fairly often < usually/most of the time/mostly < very often/very "
            "frequently < almost always/nearly always/almost all the time < always/all of the "
            "time/all the time/every time",
            "never < less than once a year/less than yearly/less often/lt once a year < once a "
            "year/yearly/annually/every year/about once or twice a year < a few times a "
            "year/several times a year/sevrl times a yr < less than once a month/less than "
            "monthly < once a month/once a month or less/monthly/about once a month/every month < "
            "a few times a month/several times a month/2 3 times a month/2 3x a month < nearly "
            "every week/nrly every week/almost every week < once a week/weekly/about once a "
            "week/every week/once or twice a week/at least once a week < 2 3 times a week/a few "
            "times a week/several times a week/more than once a week/more thn once wk < most days "
            "< daily/daily or almost daily/every day/once a day/every day or nearly every "
            "day/about once a day < several times a day/multiple times a day/more than once a day",
            "terrible/awful < very poor/very bad < poor/bad < fair/only "
            "fair/average/ok/okay/acceptable/so so< good < very good/great < "
            "excellent/outstanding < exceptional",
            "none/nothing/not at all/none at all < very little/hardly any < a little/little/a "
            "little bit< some/somewhat/a moderate amount/moderately < quite a bit/quite a lot/a "
            "good deal/much/a lot< very much/a great deal/extremely",
            "very low < low < medium/med/mid/middle/moderate/average < high < very high",
            "much worse < worse < somewhat worse < slightly worse/a little worse< about the "
            "same/the same/same/no change/unchanged< slightly better/a little better < somewhat "
            "better < better < much better",
            "much less/far less < less < somewhat less/a little less < about the same/the "
            "same/same< somewhat more/a little more < more < much more/far more",
            "too little/not enough < about right/just right/the right amount < too much",
            "nie/niemals/gar nie < fast nie/sehr selten < selten < gelegentlich/ab und zu/hin "
            "und wieder< manchmal < oft/häufig < meistens/sehr oft/sehr häufig < fast immer < "
            "immer/stets",
            "sehr schlecht/ungenügend < schlecht/mangelhaft < ausreichend < "
            "mittel/mittelmäßig/befriedigend/teils teils < gut < sehr gut < "
            "ausgezeichnet/hervorragend",
            "gar nicht/überhaupt nicht < kaum/wenig < etwas/ein wenig/ein bisschen < "
            "mittel/mittelmäßig/mäßig< ziemlich/stark < sehr/sehr stark < äußerst/extrem",
            "sehr niedrig/sehr gering < niedrig/gering < mittel < hoch < sehr hoch",
            "jamais < presque jamais/très rarement < rarement < parfois/quelquefois/de temps en "
            "temps< régulièrement/assez souvent < souvent < très souvent < presque toujours < "
            "toujours",
            "pas du tout < peu/un peu < moyennement/assez < beaucoup < énormément/extrêmement",
            "très mauvais < mauvais < moyen/passable < bon < très bon < excellent",
            "nunca/jamás < casi nunca/muy rara vez < rara vez/raramente < a veces/algunas "
            "veces/de vez en cuando< a menudo/frecuentemente/con frecuencia < muy a menudo < "
            "casi siempre < siempre",
            "nada < poco/un poco < algo/regular < bastante < mucho/muy < muchísimo",
            "muy malo < malo < regular < bueno < muy bueno < excelente",
            "muy mala < mala < regular < buena < muy buena < excelente",
            "mai < quasi mai < raramente < qualche volta/a volte/talvolta < spesso < molto "
            "spesso< quasi sempre < sempre",
            "per niente < poco < abbastanza < molto < moltissimo",
            "nunca < quase nunca < raramente < às vezes < frequentemente/muitas vezes < quase "
            "sempre < sempre",
            "nooit < bijna nooit < zelden < soms < vaak/regelmatig < meestal < bijna altijd < "
            "altijd",
            "nigdy < prawie nigdy < rzadko < czasami/czasem < często < bardzo często < zawsze",
            "nie/niemals < seltener/seltener als einmal im monat/seltener als 1 mal im monat < "
            "einmal im monat/etwa einmal im monat/einmal pro monat/jeden monat/monatlich < "
            "mehrmals im monat/mehrmals pro monat/2 3 mal im monat < einmal pro woche/einmal die "
            "woche/jede woche/einmal in der woche/etwa einmal pro woche/wöchentlich < mehrmals "
            "pro woche/mehrmals die woche/mehrmals in der woche/mehrmals wöchentlich < fast "
            "täglich/fast jeden tag < täglich/jeden tag < mehrmals täglich/mehrmals am tag",
            "jamais < moins souvent/moins d'une fois par mois < une fois par mois/environ une "
            "fois par mois/chaque mois < plusieurs fois par mois/2 à 3 fois par mois < une fois "
            "par semaine/environ une fois par semaine/chaque semaine < plusieurs fois par "
            "semaine < tous les jours/chaque jour/quotidiennement < plusieurs fois par jour",
            "nunca < menos de una vez al mes/con menos frecuencia < una vez al mes/cada mes < "
            "varias veces al mes < una vez a la semana/una vez por semana/cada semana < varias "
            "veces a la semana/varias veces por semana < todos los días/a diario/cada "
            "día/diariamente < varias veces al día",
            "mai < meno di una volta al mese/più raramente < una volta al mese < più volte al "
            "mese < una volta alla settimana/una volta a settimana < più volte alla "
            "settimana/più volte a settimana < ogni giorno/tutti i giorni < più volte al giorno",
            "nunca < menos de uma vez por mês < uma vez por mês < várias vezes por mês < uma vez "
            "por semana < várias vezes por semana < todos os dias/diariamente < várias vezes por "
            "dia",
            "nooit < minder dan een keer per maand/minder vaak < een keer per maand/maandelijks "
            "< een paar keer per maand/meerdere keren per maand < een keer per week/wekelijks < "
            "een paar keer per week/meerdere keren per week < elke dag/dagelijks < meerdere "
            "keren per dag",
            "nigdy < rzadziej/rzadziej niż raz w miesiącu < raz w miesiącu < kilka razy w "
            "miesiącu < raz w tygodniu < kilka razy w tygodniu < codziennie < kilka razy dziennie",
            "not at all < several days < more than half the days/over half the days < nearly "
            "every day",
            "überhaupt nicht < an einzelnen tagen < an mehr als der hälfte der tage < beinahe "
            "jeden tag/fast jeden tag",
            "jamais/pas du tout < plusieurs jours < plus de la moitié du temps/plus de sept "
            "jours < presque tous les jours",
            "nunca/ningún día/para nada < varios días < más de la mitad de los días < casi todos "
            "los días",
            "sd < d < n/u < a < sa",
            "no < maybe/perhaps/not sure/unsure/possibly < yes",
            "no < somewhat/partly/to some extent < yes",
            "nein < vielleicht/teilweise/teils < ja",
            "non < peut être < oui",
            "no < quizás/tal vez < sí",
            "no < forse < sì",
            "não < talvez < sim",
            "nee < misschien < ja",
            "nie < może < tak",
            "no/nay/against < abstain/abstention/abstained/present < yes/yea/aye/for",
            "nein < enthaltung < ja",
            "non/contre < abstention < oui/pour",
            "no/en contra < abstención < sí/a favor",
            "n < y",
            "false < true",
            "reject < accept",
            "rejected < accepted",
            "falsch < richtig",
            "incorrect < correct",
            "not selected < selected",
            "not quoted < quoted",
            "unchecked < checked",
            "not chosen < chosen",
            "not mentioned < mentioned",
            "nicht genannt < genannt",
            "not approved < approved",
            "negative/neg < neutral/neu/mixed < positive/pos",
            "negativ < neutral < positiv",
            "none/no/no at all/not a/not at all/nothing/nothing at all/none at all < very "
            "little/hardly any/almost none < not much/not too much/not very much/only a little/a "
            "little/little < some/only some/a moderate amount < a fair amount/quite a bit/quite a "
            "lot/a good deal < a lot/much < a great deal/very much/complete/a very great deal",
            "none/no/not any < very few/hardly any/almost none < few/a few < some/several < "
            "about half/half < many/a lot < most/a majority < almost all/nearly all < all/every "
            "one",
            "none/no/not a/not at all < mild/minor/slight/small < moderate/medium/somewhat of a "
            "< serious/severe/major/strong/big/large < very serious/very "
            "severe/extreme/critical/unable",
            "never/not at all/none < once < once or twice < a few times/several times/some times "
            "< many times/a lot of times",
            "never/not at all/no days < rarely < some days/a few days < most days < every "
            "day/daily",
            "very poorly/not well at all < poorly/not well/not very well < fairly/fairly "
            "well/somewhat well/ok < well/quite well < very well < extremely well",
            "never heard of/never heard of it/not heard of/unaware/not aware/not at all aware/do "
            "not know it/don't know it < heard of/heard of it/aware/know of it/know it/heard of "
            "it but never used it/heard of but never used/heard of but not used/aware but never "
            "used < tried/tried it/have tried it/used once/used in the past < used/used it/have "
            "used/have used it/use/use it < use regularly/use it regularly/regular "
            "user/currently use",
            "no experience/no knowledge < beginner/novice < elementary < intermediate < advanced "
            "< expert/native/fluent",
            "no < yes sometimes/yes somewhat/yes to some extent/yes a little/yes partly/to some "
            "degree < yes mostly < yes definitely/yes completely/yes always/yes very much/yes a "
            "lot",
            "fewer < the same/the same number/about the same < more",
            "weniger < gleich/gleich viel/gleichviel/unverändert < mehr",
            "viel schlechter < schlechter < etwas schlechter < gleich/gleich gut/unverändert < "
            "etwas besser < besser < viel besser",
            "moins < pareil/autant/la même chose/inchangé < plus",
            "moins bien/pire < pareil/la même chose < mieux",
            "menos < igual/lo mismo/o mesmo < más/mais",
            "peor/pior < igual/lo mismo/o mesmo < mejor/melhor",
            "meno < uguale/lo stesso/come prima < più",
            "peggio < uguale/lo stesso < meglio",
            "minder < evenveel/even veel/gelijk/hetzelfde < meer",
            "slechter < gelijk/hetzelfde < beter",
            "zu wenig/viel zu wenig < genau richtig/richtig/gerade richtig < zu viel/zuviel",
            "trop peu/pas assez < juste ce qu'il faut/juste bien/suffisant/assez < trop",
            "muy poco/demasiado poco < lo justo/adecuado/suficiente < demasiado",
            "troppo poco < giusto/il giusto < troppo",
            "muito pouco/pouco demais < na medida certa/o suficiente < demais/demasiado",
            "te weinig < precies goed/goed/voldoende < te veel",
            "très mauvaise < mauvaise < moyenne/passable < bonne < très bonne < excellente",
            "muito ruim/péssimo < ruim/mau < regular/médio < bom < muito bom/ótimo < excelente",
            "pessimo < scarso/cattivo < sufficiente/medio < buono < molto buono < "
            "ottimo/eccellente",
            "zeer slecht < slecht < matig/voldoende < goed < zeer goed < uitstekend",
            "никогда < почти никогда/очень редко < редко < иногда < часто < очень часто/почти "
            "всегда < всегда",
            "полностью не согласен/совершенно не согласен < не согласен/скорее не согласен < "
            "нейтрально/ни то ни другое < скорее согласен/согласен < полностью "
            "согласен/совершенно согласен",
            "まったくそう思わない/全くそう思わない < そう思わない/あまりそう思わない < "
            "どちらともいえない/どちらとも言えない < ややそう思う/まあそう思う < そう思う < "
            "とてもそう思う/非常にそう思う/強くそう思う",
            "まったくない/全くない < ほとんどない/めったにない < たまに/ときどき/時々 < "
            "よく/しばしば < いつも/常に",
            "まったくそう思わない/全くそう思わない < そう思わない < "
            "あまりそう思わない/ややそう思わない/どちらかといえばそう思わない < "
            "どちらともいえない/どちらとも言えない < "
            "ややそう思う/まあそう思う/どちらかといえばそう思う < そう思う < "
            "とてもそう思う/非常にそう思う/強くそう思う",
            "まったくあてはまらない/全くあてはまらない < あてはまらない < "
            "あまりあてはまらない/どちらかといえばあてはまらない < "
            "どちらともいえない/どちらとも言えない < "
            "ややあてはまる/どちらかといえばあてはまる < あてはまる < "
            "とてもあてはまる/非常にあてはまる/よくあてはまる",
            "とても不満/非常に不満/大変不満 < 不満 < やや不満 < "
            "どちらともいえない/どちらとも言えない/普通/ふつう < やや満足 < 満足 < "
            "とても満足/非常に満足/大変満足",
            "전혀 그렇지 않다 < 그렇지 않다/별로 그렇지 않다 < 보통이다/보통 < 그렇다 < 매우 "
            "그렇다",
            "매우 불만족 < 불만족 < 보통/보통이다 < 만족 < 매우 만족",
            "kesinlikle katılmıyorum < katılmıyorum < kararsızım/ne katılıyorum ne katılmıyorum < "
            "katılıyorum < kesinlikle katılıyorum/tamamen katılıyorum",
            "أعارض بشدة/لا أوافق بشدة < أعارض/لا أوافق < محايد < أوافق < أوافق بشدة",
            "instämmer inte alls/tar helt avstånd < instämmer inte/instämmer delvis inte < varken "
            "eller < instämmer delvis/instämmer till viss del < instämmer till stor del < "
            "instämmer/instämmer helt",
            "aldrig < sällan < ibland < ofta < alltid",
            "nikdy < téměř nikdy/skoro nikdy < zřídka/zřídkakdy < někdy/občas < často < velmi "
            "často < téměř vždy/skoro vždy < vždy",
            "soha < szinte soha < ritkán < néha/időnként < gyakran < szinte mindig < mindig",
            "egyáltalán nem < inkább nem < inkább igen < teljes mértékben/teljesen",
            "xxs < xs < s < m < l < xl < xxl",
            "非常不同意/非常不同意的 < 不同意/比较不同意 < 中立/一般/不确定 < 同意/比较同意 < "
            "非常同意",
            "非常不满意 < 不满意/比较不满意 < 一般/中立 < 满意/比较满意 < 非常满意",
            "从不 < 很少 < 有时 < 经常 < 总是",
            "ohne abschluss/kein abschluss/kein schulabschluss/noch schüler < "
            "hauptschule/hauptschulabschluss/volksschule/volks oder hauptschulabschluss < "
            "realschule/realschulabschluss/mittlere reife/mittlerer abschluss/mittlerer "
            "schulabschluss < fachhochschulreife/fachabitur < abitur/hochschulreife/allgemeine "
            "hochschulreife/matura < hochschulabschluss/studium/universität/bachelor/hochschule "
            "< master/diplom < promotion/doktor",
            "sans diplôme/aucun diplôme/aucun < brevet/brevet des collèges/bepc < cap ou bep/cap "
            "bep/cap/bep < bac/baccalauréat < bac 2/bts dut/dut bts < bac 3/licence < bac "
            "5/master < doctorat/bac 8",
            "sin estudios/ninguno < primaria/estudios primarios/educación primaria < "
            "secundaria/eso/estudios secundarios/educación secundaria < bachillerato < formación "
            "profesional/fp < universitarios/universidad/estudios "
            "universitarios/grado/licenciatura < posgrado/máster/maestría < doctorado",
            "small < medium < large",
            "easy < medium < hard",
            "always illegal/illegal in all cases < illegal in most cases < legal in most cases < "
            "always legal/legal in all cases",
            "not at all important/not important at all < not very important/slightly important < "
            "somewhat important/fairly important/moderately important < important/quite important "
            "< very important < extremely important < essential/absolutely essential",
            "detractor/detractors < passive/passives < promoter/promoters",
            "strong democrat < not very strong democrat/not str democrat/weak democrat < lean "
            "democrat/leans democrat/ind near dem/independent close to democrat/independent "
            "democrat/independent lean democrat < independent < lean republican/leans "
            "republican/ind near rep/independent close to republican/independent "
            "republican/independent lean republican < not very strong republican/not str "
            "republican/weak republican < strong republican",
            "hiçbir zaman/asla < çok nadir < nadiren < bazen/ara sıra < sık sık/genellikle < çoğu "
            "zaman < her zaman",
            "hiç memnun değilim < memnun değilim < kararsızım < memnunum < çok memnunum",
            "أبدا/مطلقا < نادرا < أحيانا < غالبا < دائما",
            "غير موافق بشدة < غير موافق < محايد < موافق < موافق بشدة",
            "غير راض تماما/غير راض على الإطلاق < غير راض < محايد < راض < راض جدا/راض تماما",
            "instämmer inte alls < instämmer inte < varken eller/neutral < instämmer < instämmer "
            "helt/instämmer starkt",
            "helt uenig/svært uenig < uenig/delvis uenig/litt uenig/lidt uenig < verken "
            "eller/hverken eller/verken enig eller uenig/hverken enig eller uenig/nøytral/neutral "
            "< delvis enig/litt enig/lidt enig < enig < helt enig/svært enig",
            "aldri/aldrig < sjelden/sjældent < av og til/noen ganger/nogle gange < ofte < "
            "alltid/altid",
            "täysin eri mieltä < eri mieltä/jokseenkin eri mieltä/osittain eri mieltä < en samaa "
            "enkä eri mieltä/ei samaa eikä eri mieltä < samaa mieltä/jokseenkin samaa "
            "mieltä/osittain samaa mieltä < täysin samaa mieltä",
            "ei koskaan/en koskaan < harvoin < joskus < usein < aina",
            "διαφωνώ απόλυτα < διαφωνώ < ούτε συμφωνώ ούτε διαφωνώ < συμφωνώ < συμφωνώ απόλυτα",
            "ποτέ < σπάνια < μερικές φορές < συχνά < πάντα",
            "sangat tidak setuju < tidak setuju < netral/ragu ragu/kurang setuju < setuju < sangat "
            "setuju",
            "tidak pernah < jarang < kadang kadang < sering < selalu",
            "hoàn toàn không đồng ý < không đồng ý < trung lập/bình thường < đồng ý < hoàn toàn "
            "đồng ý",
            "從不/從未 < 很少 < 有時 < 經常 < 總是",
            "非常不同意 < 不同意 < 普通/沒意見/中立 < 同意 < 非常同意",
            "全くない < ほとんどない < たまにある/時々ある < よくある < いつもある",
            "very slightly or not at all/not at all < a little < moderately < quite a bit < "
            "extremely",
            "none < minimal < mild < moderate < moderately severe < severe < very severe",
            "never < just once or twice/once or twice < several times < many times < always",
            "nada/ninguna/ninguno < poca/poco/muy poca/muy poco < algo/algo de < "
            "bastante/bastantes < mucha/mucho",
            "far below average/well below average < below average < average/about average < above "
            "average < far above average/well above average",
            "unacceptable/unsatisfactory < needs improvement/below expectations/does not meet "
            "expectations/did not meet expectations < meets expectations/met expectations < "
            "exceeds expectations/exceeded expectations < outstanding/far exceeds "
            "expectations/far exceeded expectations",
            "worse than expected/fell short < as expected < better than expected",
            "not like me at all/not at all like me < not like me/not much like me < a little like "
            "me < somewhat like me < like me/mostly like me < very much like me",
            "rarely or none of the time < some or a little of the time < occasionally or a "
            "moderate amount of time/occasionally or a moderate amount of the time < most or all "
            "of the time/all of the time",
            "none of the time < a little of the time < some of the time < a good bit of the time < "
            "most of the time < all of the time",
            "at no time < some of the time < less than half of the time/less than half the time < "
            "more than half of the time/more than half the time < most of the time < all of the "
            "time",
            "never < monthly or less < 2 4 times a month/2 to 4 times a month < 2 3 times a "
            "week/2 to 3 times a week < 4 or more times a week/4 times or more a week",
            "did not apply to me at all < applied to me to some degree/applied to me to some "
            "degree or some of the time < applied to me to a considerable degree/applied to me to "
            "a considerable degree or a good part of time < applied to me very much/applied to me "
            "very much or most of the time",
            "no difficulty/no no difficulty < some difficulty/yes some difficulty < a lot of "
            "difficulty/yes a lot of difficulty < cannot do at all/cannot do it at all/unable to "
            "do",
            "would not recommend < might recommend < would recommend < would definitely recommend",
            "novice < advanced beginner < competent < proficient < expert",
            "not a priority/no priority < low priority < medium priority < high priority < "
            "essential/top priority",
            "low < normal/medium < high < urgent/critical",
            "hardly at all/not at all closely < not very closely/not too closely < fairly "
            "closely/somewhat closely < very closely",
            "hate/hate it/strongly dislike < dislike/dislike it/don't like it < "
            "neutral/indifferent/neither < like/like it < love/love it",
            "not essential < useful but not essential < essential",
            "not important at all/not at all important < of little importance < of average "
            "importance/of moderate importance < very important < absolutely essential",
            "major disadvantage < minor disadvantage < neither/neither an advantage nor a "
            "disadvantage < minor advantage < major advantage",
            "tend not to trust < tend to trust",
            "fail < pass",
            "strong reject < reject < weak reject < borderline < weak accept < accept < strong "
            "accept",
            "reject < major revision/major revisions < minor revision/minor revisions < accept",
            "incorrect/wrong < partially correct/partly correct < correct",
            "non toxic/not toxic < toxic < very toxic/severely toxic",
            "never/none/non user < occas/occasional/occasionally/light/some < regul/regular/"
            "regularly/moderate < heavy/freq/frequent/frequently",
            "freshman/first year/1st year < sophomore/second year/2nd year < junior/third year/3rd "
            "year < senior/fourth year/4th year < graduate/grad student/graduate student",
            "gen alpha < gen z/generation z < millennial/millennials/gen y/generation y < gen x/"
            "generation x < boomer/boomers/baby boomer/baby boomers < silent generation/silent",
            "fail < pass < merit < distinction",
            "junior/entry level < mid/mid level < senior < lead/principal",
            "first < second < third < fourth < fifth",
            "pants on fire < false < mostly false/barely true < half true < mostly true < "
            "true/completely true",
            "definitely will not/definitely would not/definitely won't/will definitely not < "
            "probably will not/probably would not/probably won't < might/might or might "
            "not/may/maybe/may or may not < probably will/probably would < definitely will/"
            "definitely would",
            "would not buy/i would not buy/would definitely not buy < might buy/i might buy < "
            "would buy/i would buy < would definitely buy/i would definitely buy",
            "sehr schlecht < schlecht < geht so/mittelmäßig/naja < gut < sehr gut",
            "none < almost none/hardly any < less than half/under half < about half/half < more "
            "than half/over half < almost all/nearly all < all",
            "very unlikely/extremely unlikely < unlikely < possible/neither/neutral/uncertain < "
            "likely < very likely/extremely likely",
            "gens d'acord/gens < poc d'acord/poc < una mica/una mica d'acord < bastant "
            "d'acord/bastant < molt d'acord/molt < totalment d'acord",
            "mai < gairebé mai < de vegades/a vegades < sovint < gairebé sempre < sempre",
            "deloc < puțin/foarte puțin < moderat/oarecum < mult < foarte mult",
            "dezacord total < dezacord < neutru/nici acord nici dezacord < acord < acord total",
            "niciodată < rar/rareori < uneori/câteodată < deseori/des < întotdeauna/mereu",
            "ніколи < рідко < іноді/інколи < часто < завжди",
            "зовсім не довіряю/повністю не довіряю < скоріше не довіряю < скоріше довіряю < "
            "повністю довіряю",
            "повністю не згоден/зовсім не згоден < скоріше не згоден/не згоден < важко "
            "сказати/нейтрально < скоріше згоден/згоден < повністю згоден",
            "совсем не доверяю/полностью не доверяю < скорее не доверяю < скорее доверяю < "
            "полностью доверяю",
            "כלל לא מסכים/בכלל לא מסכים < לא מסכים < ניטרלי/נייטרלי < מסכים < מסכים מאוד/מסכים "
            "בהחלט",
            "אף פעם/לעולם לא < לעיתים רחוקות < לפעמים < לעיתים קרובות < תמיד",
            "पूरी तरह असहमत/दृढ़ता से असहमत < असहमत < तटस्थ < सहमत < पूरी तरह सहमत/दृढ़ता से सहमत",
            "कभी नहीं < शायद ही कभी < कभी कभी < अक्सर < हमेशा",
            "ไม่เห็นด้วยอย่างยิ่ง < ไม่เห็นด้วย < เฉยๆ/ไม่แน่ใจ < เห็นด้วย < เห็นด้วยอย่างยิ่ง",
            "uopće se ne slažem/u potpunosti se ne slažem/nikako se ne slažem < ne slažem se < "
            "niti se slažem niti se ne slažem/neodlučan < slažem se < u potpunosti se "
            "slažem/potpuno se slažem",
            "nikad/nikada < rijetko/retko < ponekad < često < uvijek/uvek",
            "vôbec nesúhlasím/úplne nesúhlasím < nesúhlasím/skôr nesúhlasím < neutrálne < skôr "
            "súhlasím/súhlasím < úplne súhlasím",
            "rozhodně ne/určitě ne < spíše ne < spíše ano < rozhodně ano/určitě ano",
            "very dissatisfied < dissatisfied < ok/okay < satisfied < very satisfied",
            "a much better/a is much better < a better/a is better < a slightly better/a is "
            "slightly better < tie/same/about the same/equal < b slightly better/b is slightly "
            "better < b better/b is better < b much better/b is much better",
            "agree very strongly with statement 1 < agree with statement 1 < agree with neither < "
            "agree with statement 2 < agree very strongly with statement 2",
            "no pain < mild pain < moderate pain < severe pain < very severe pain < worst pain "
            "imaginable/worst possible pain",
            "very much worse < much worse < worse < minimally worse/slightly worse < no "
            "change/unchanged < minimally improved/slightly improved < improved < much improved < "
            "very much improved",
            "not used/never used < used once < used more than once",
            "nem < talán < igen",
            "hayır < belki < evet",
            "нет < может быть/возможно < да",
            "не < да",
            "ні < так",
            "tidak < mungkin < ya",
            "không < có thể < có",
            "لا < ربما < نعم",
            "לא < אולי < כן",
            "아니요/아니오 < 예/네",
            "नहीं < हाँ",
            "ez < bai",
            "nu < poate < da",
            "ne < možda < da",
            "nej < kanske/måske < ja",
            "nei < kanskje < ja",
            "ei < ehkä < kyllä",
            "όχι < ίσως < ναι",
            "いいえ < はい",
            "dislike/dislike it/i dislike it/i dislike it that way/i would dislike it/i dislike "
            "it and i cannot accept it/i dislike it and i can't accept it/i dislike it and "
            "cannot accept it < live with/live with it/can live with it/i can live with it/i can"
            " live with it that way/i could live with it/tolerate/tolerate it/can tolerate it/i "
            "can tolerate it/i could tolerate it/i dislike it but i can live with it/i dislike "
            "it but i can live with it that way < neutral/i am neutral/i'm neutral/i would be "
            "neutral/i feel neutral/don't care/i don't care < must be/must have/it must be that "
            "way/it must be/it should be that way/expect/expect it/i expect it/i expect it that "
            "way/i would expect it/it is a basic necessity or i expect it that way < like/like "
            "it/i like it/i like it that way/i would like it/i enjoy it/i enjoy it that way",
            "das würde mich sehr stören/das stört mich sehr/würde mich sehr stören < das könnte "
            "ich in kauf nehmen/das nehme ich gerade noch hin/das nehme ich in kauf/könnte ich "
            "in kauf nehmen < das ist mir egal/ist mir egal/egal < das setze ich voraus/setze "
            "ich voraus/das ist selbstverständlich < das würde mich sehr freuen/das freut mich "
            "sehr/würde mich sehr freuen",
            "vd < d < n < s < vs",
            "vu < u < n < l < vl",
            "vp < p < f < g < vg < e",
            "much less likely/a lot less likely < somewhat less likely/a little less likely/less"
            " likely/slightly less likely < no difference/no more or less likely/neither more "
            "nor less likely/no effect/no impact/about as likely/equally likely < somewhat more "
            "likely/a little more likely/more likely/slightly more likely < much more likely/a "
            "lot more likely",
            "none/none at all/nothing at all < not much/very little/only a little/a small amount"
            " < some/a moderate amount < a fair amount/a good amount < a great amount/a large "
            "amount/a great deal",
            "not at all < not much/not very much/not really < somewhat/a little/partly < "
            "mostly/largely < completely/fully/entirely",
            "never < more than a year ago/over a year ago/more than 12 months ago < within the "
            "past year/within the last year/in the past year/in the last 12 months/within the "
            "past 12 months < within the past 6 months/within the last 6 months < within the "
            "past 3 months/within the last 3 months < within the past month/within the last "
            "month/in the past month/in the last month/in the last 30 days/within the past 30 "
            "days < within the past week/within the last week/in the past week/in the last "
            "week/in the last 7 days/within the past 7 days < within the past day/in the last 24"
            " hours/within the last 24 hours/yesterday < today",
            "reject/to reject < poor/insufficient/inadequate < acceptable/passable/fair < "
            "good/fairly good < very good < excellent/great/outstanding",
            "à rejeter < insuffisant < passable < assez bien < bien < très bien < excellent",
            "very cheap/dirt cheap < cheap/inexpensive < "
            "ok/okay/fair/reasonable/affordable/about right/neutral < expensive/pricey < very "
            "expensive/too expensive",
            "否 < 是",
        ),
    )
)

NUMBERS = tuple(
    map(
        _list,
        (
            "zero/none < one/only one/just one < two < three/three or more < four/four or more <"
            " five/five or more < six/six or more < seven/seven or more < eight/eight or more < "
            "nine/nine or more < ten/ten or more",
            "null/keine/keiner/keins < eins/ein/eine/einer < zwei < drei/drei oder mehr < "
            "vier/vier oder mehr < fünf/fünf oder mehr < sechs/sechs oder mehr < sieben < acht <"
            " neun < zehn",
            "zéro/aucun/aucune < un/une < deux < trois/trois ou plus < quatre/quatre ou plus < "
            "cinq/cinq ou plus < six/six ou plus < sept < huit < neuf < dix",
            "cero/ninguno/ninguna < uno/una/un < dos < tres/tres o más < cuatro/cuatro o más < "
            "cinco/cinco o más < seis/seis o más < siete < ocho < nueve < diez",
            "zero/nessuno/nessuna < uno/una/un < due < tre/tre o più < quattro/quattro o più < "
            "cinque/cinque o più < sei/sei o più < sette < otto < nove < dieci",
            "zero/nenhum/nenhuma < um/uma < dois/duas < três/três ou mais < quatro/quatro ou "
            "mais < cinco/cinco ou mais < seis < sete < oito < nove < dez",
            "nul/geen < een < twee < drie/drie of meer < vier/vier of meer < vijf/vijf of meer <"
            " zes < zeven < acht < negen < tien",
            "zero < jeden/jedna/jedno < dwa/dwie < trzy < cztery < pięć < sześć < siedem < osiem"
            " < dziewięć < dziesięć",
        ),
    )
)
"""Numbers, of which each is all that somebody says: `BBC One` is none."""
